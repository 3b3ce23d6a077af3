import { useId, type ReactNode } from 'react'

/** A field of a form: its name above it, and beneath it what helps to fill it in. */
export function Field({ label, hint, children }: { label: string; hint?: ReactNode; children: (id: string, described: string | undefined) => ReactNode }) {
  const id = useId()
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children(id, hint ? `${id}hint` : undefined)}
      {hint && (
        <div id={`${id}hint`} className="quiet small">
          {hint}
        </div>
      )}
    </div>
  )
}
