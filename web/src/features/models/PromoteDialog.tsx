import { useId, useState } from 'react'
import { useLocation } from 'wouter'

import { address, send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { Confirm } from '../../parts/Dialog'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { models as text } from '../../text'
import { CHANGES, exact, pathOf } from './words'

const words = text.promote
const given = (value: string) => value.trim() || undefined

/** Makes the model of a completed run a version of the registry; a model that is not there yet is made. */
export function PromoteDialog({ run, close }: { run: Pick<Schemas['RunRow'], 'run_id'>; close: () => void }) {
  const [, go] = useLocation()
  const ids = { hint: useId(), known: useId() }
  const families = useGet('/api/models', { query: { limit: 200 } })
  const [name, setName] = useState('')
  const [version, setVersion] = useState('')
  const [alias, setAlias] = useState('')
  const [description, setDescription] = useState('')
  const [reason, setReason] = useState('')
  const known = families.data?.data.some((each) => each.name === name.trim()) ?? false
  const body: Schemas['PromoteRequest'] = {
    run_id: run.run_id,
    version: given(version),
    alias: given(alias),
    reason: given(alias) && given(reason),
    actor: 'web',
  }
  const act = useAct(
    async () => {
      await send('post', '/api/models', { body: { name: name.trim(), description: known ? undefined : given(description) } })
      return send('post', '/api/models/{name}/promote', { at: { name: name.trim() }, body })
    },
    CHANGES,
    (made) => {
      say(words.done(exact(made)))
      close()
      go(pathOf(made.name))
    },
  )
  const field = (label: string, value: string, set: (value: string) => void, more: object = {}) => (
    <label className="field">
      <span>{label}</span>
      <input value={value} autoComplete="off" onChange={(event) => set(event.target.value)} {...more} />
    </label>
  )
  return (
    <Confirm
      title={words.title}
      action={act.isPending ? words.busy : words.act}
      busy={act.isPending || name.trim() === ''}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <p>{words.detail}</p>
      {field(words.name, name, setName, { maxLength: 99, list: ids.known, 'aria-describedby': ids.hint })}
      <p id={ids.hint} className="quiet small">
        {words.nameHint}
      </p>
      <datalist id={ids.known}>
        {families.data?.data.map((each) => (
          <option key={each.name} value={each.name} />
        ))}
      </datalist>
      <div className="fields">
        {field(words.version, version, setVersion, { maxLength: 64 })}
        {field(words.alias, alias, setAlias, { maxLength: 64 })}
      </div>
      {!known && name.trim() !== '' && field(words.description, description, setDescription, { maxLength: 2000 })}
      {alias.trim() !== '' && field(words.reason, reason, setReason, { maxLength: 2000 })}
      <CopyAs
        command={shell(
          'tunix-rt', 'models', 'promote', run.run_id, '--name', name.trim() || 'NAME',
          ...(body.version ? ['--version', body.version] : []),
          ...(body.alias ? ['--alias', body.alias] : []),
          ...(body.reason ? ['--reason', body.reason] : []),
        )}
        request={{ method: 'POST', address: address('/api/models/{name}/promote', { at: { name: name.trim() || 'NAME' } }), body }}
      />
    </Confirm>
  )
}
