import type { Span } from './diff'

/** One of two aligned texts: what both have plain, what it alone has marked, by more than colour. */
export function Words({ spans, side }: { spans: readonly Span[]; side: 'base' | 'other' }) {
  const own = side === 'base' ? 'delete' : 'insert'
  return (
    <pre className="words">
      {spans
        .filter((span) => span.op === 'equal' || span.op === own)
        .map((span, place) =>
          span.op === 'equal' ? <span key={place}>{span.text}</span> : own === 'delete' ? <del key={place}>{span.text}</del> : <ins key={place}>{span.text}</ins>,
        )}
    </pre>
  )
}
