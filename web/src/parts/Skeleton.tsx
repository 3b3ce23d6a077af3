import { common as text } from '../text'

/** Stands where rows will stand. */
export function Skeleton({ lines = 8, tall = false }: { lines?: number; tall?: boolean }) {
  return (
    <div className="skeleton" role="status" aria-label={text.loading}>
      {Array.from({ length: lines }, (_, place) => (
        <div key={place} className={tall ? 'bone tall' : `bone w${(place * 7) % 4}`} />
      ))}
    </div>
  )
}
