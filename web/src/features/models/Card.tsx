import { useMemo, type ReactNode } from 'react'

import { models as text } from '../../text'
import { card, type Block, type Span } from './markdown'

const drawn = (spans: readonly Span[]): ReactNode =>
  spans.map((span, place) =>
    span.code ? <code key={place}>{span.text}</code> : span.strong ? <strong key={place}>{span.text}</strong> : <span key={place}>{span.text}</span>,
  )

function Part({ of }: { of: Block }) {
  switch (of.kind) {
    case 'heading':
      // Below the page's own headings.
      return of.level === 1 ? <h3 className="card-title">{drawn(of.spans)}</h3> : <h4>{drawn(of.spans)}</h4>
    case 'text':
      return <p>{drawn(of.spans)}</p>
    case 'list':
      return (
        <ul>
          {of.items.map((item, place) => (
            <li key={place}>{drawn(item)}</li>
          ))}
        </ul>
      )
    case 'code':
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- what scrolls is reached by the keyboard
      return <pre tabIndex={0}>{of.text}</pre>
    case 'table':
      return (
        <div className="scroll-x">
          <table className="plain">
            <thead>
              <tr>
                {of.head.map((cell, place) => (
                  <th key={place} scope="col">
                    {drawn(cell)}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {of.rows.map((row, at) => (
                <tr key={at}>
                  {row.map((cell, place) => (
                    <td key={place}>{drawn(cell)}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )
  }
}

/** A model's card. Whoever trained it wrote it: it is drawn as text, and nothing in it is HTML or leads anywhere. */
export function Card({ source }: { source: string }) {
  const { front, blocks } = useMemo(() => card(source), [source])
  return (
    <article className="card panel">
      {blocks.map((block, place) => (
        <Part key={place} of={block} />
      ))}
      {front !== null && (
        <details>
          <summary>{text.version.front}</summary>
          <pre>{front}</pre>
        </details>
      )}
      <details>
        <summary>{text.version.asText}</summary>
        <pre>{source}</pre>
      </details>
    </article>
  )
}
