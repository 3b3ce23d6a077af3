import { Problem } from '../api/client'
import { common as text } from '../text'
import { Icon } from './Icon'

/** What the server said, why, what mends it, and the id under which its log knows more. */
export function ProblemBox({ problem, again }: { problem: unknown; again?: (() => void) | undefined }) {
  const said = Problem.of(problem)
  return (
    <div className="problem" role="alert">
      <p className="problem-title">
        <Icon name="warning" /> {said.title}
      </p>
      <p className="said">{said.detail}</p>
      {said.hint && <p className="hint">{said.hint}</p>}
      {said.faults.length > 0 && (
        <ul className="faults">
          {said.faults.map((fault, place) => (
            <li key={place}>
              <code>{fault.pointer}</code> {fault.detail}
            </li>
          ))}
        </ul>
      )}
      {said.requestId && (
        <p className="quiet small">
          {text.requestId} <code className="select">{said.requestId}</code>
        </p>
      )}
      {again && (
        <button type="button" onClick={again}>
          {text.again}
        </button>
      )}
    </div>
  )
}
