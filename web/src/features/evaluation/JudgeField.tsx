import { useId } from 'react'

import { useGet } from '../../api/hooks'
import { Field } from '../../parts/Field'
import { Icon } from '../../parts/Icon'
import { evaluation as text } from '../../text'

/** A judge by name, with parameters: those that the server has are offered, and what one does is told. */
export function JudgeField({ value, choose, placeholder }: { value: string; choose: (value: string) => void; placeholder?: string }) {
  const list = useId()
  const judges = useGet('/api/judges', {}, { staleTime: 60_000 })
  const known = judges.data?.data ?? []
  const named = known.find((judge) => judge.name === (value || (placeholder ?? '')).trim().split(':')[0])
  const parameters = Object.entries(named?.parameters ?? {})
  return (
    <Field
      label={text.judging.judge}
      hint={
        named ? (
          <>
            <p>{named.description}</p>
            {named.problem && (
              <p className="row">
                <Icon name="warning" size={14} />
                <span>
                  {named.problem} {named.hint}
                </span>
              </p>
            )}
            {parameters.length > 0 && <p>{text.judging.parameters(parameters.map(([name, one]) => `${name}=${String(one.default)}`).join(','))}</p>}
          </>
        ) : (
          text.judging.hint
        )
      }
    >
      {(id, described) => (
        <>
          <input id={id} list={list} value={value} placeholder={placeholder} aria-describedby={described} onChange={(event) => choose(event.target.value)} />
          <datalist id={list}>
            {known.map((judge) => (
              <option key={judge.name} value={judge.name}>
                {judge.problem ? text.judging.missing(judge.problem) : (judge.description ?? '')}
              </option>
            ))}
          </datalist>
        </>
      )}
    </Field>
  )
}
