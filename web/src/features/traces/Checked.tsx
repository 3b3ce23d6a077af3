import type { Schemas } from '../../api/client'
import { Badge } from '../../parts/Badge'
import { traces as text } from '../../text'

type CheckedText = Schemas['CheckedText']
type Piece = Schemas['Piece']

function Calculation({ piece }: { piece: Piece }) {
  const said = text.calculations
  // Told by an underline of its own shape and by a word; the colour only adds to it.
  return piece.right ? (
    <span className="calculation right-one" title={said.right}>
      {piece.text}
      <span className="calculation-mark" role="img" aria-label={said.right}>
        ✓
      </span>
    </span>
  ) : (
    <span className="calculation wrong-one" data-wrong="">
      {piece.text}
      <span className="calculation-mark">
        <span aria-hidden="true">✕ </span>
        {said.wrong}
        {piece.value !== null && `: ${said.is(piece.value)}`}
      </span>
    </span>
  )
}

/** A text with its calculations checked where they stand; the plain text until they are known. */
export function Checked({ plain, checked }: { plain: string; checked?: CheckedText | undefined }) {
  if (!checked) return <div className="said">{plain}</div>
  return (
    <>
      <div className="said">
        {checked.pieces.map((piece, place) => (typeof piece.right === 'boolean' ? <Calculation key={place} piece={piece} /> : <span key={place}>{piece.text}</span>))}
      </div>
      {checked.apart.length > 0 && (
        <p className="row small quiet">
          {text.calculations.noted}:
          {checked.apart.map((piece, place) => (
            <Calculation key={place} piece={piece} />
          ))}
        </p>
      )}
    </>
  )
}

export function Verdict({ right, wrong }: { right: number; wrong: number }) {
  if (right + wrong === 0) return <Badge tone="off">{text.calculations.none}</Badge>
  return <Badge tone={wrong > 0 ? 'bad' : 'good'}>{text.calculations.counts(right, wrong)}</Badge>
}
