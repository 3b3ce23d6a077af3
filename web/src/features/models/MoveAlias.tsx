import { useId, useState } from 'react'

import { address, send, type Schemas } from '../../api/client'
import { useAct } from '../../api/hooks'
import { useList } from '../../api/list'
import { CopyAs } from '../../parts/copy'
import { Confirm } from '../../parts/Dialog'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { models as text } from '../../text'
import { CHANGES } from './words'

const words = text.alias

/** Points an alias of a model at one of its versions. */
export function MoveAlias({ family, alias = '', version, close }: { family: Schemas['FamilyDetail']; alias?: string; version?: string; close: () => void }) {
  const ids = { hint: useId(), known: useId() }
  const found = useList('/api/models/{name}/versions', { at: { name: family.name } })
  const [name, setName] = useState(alias)
  const [chosen, setChosen] = useState(version ?? family.versions[0]?.version ?? '')
  const [reason, setReason] = useState('')
  const body: Schemas['AliasRequest'] = { version: chosen, actor: 'web', ...(reason.trim() ? { reason: reason.trim() } : {}) }
  const at = { name: family.name, alias: name.trim() }
  const act = useAct(
    () => send('put', '/api/models/{name}/aliases/{alias}', { at, body }),
    CHANGES,
    (made) => {
      say(words.done(made.alias, `${family.name}:${made.version}`))
      close()
    },
  )
  return (
    <Confirm
      title={words.title(family.name)}
      action={words.act}
      busy={act.isPending || at.alias === '' || chosen === ''}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <p>{words.detail}</p>
      <div className="fields">
        <label className="field">
          <span>{words.name}</span>
          <input value={name} maxLength={64} list={ids.known} aria-describedby={ids.hint} autoComplete="off" onChange={(event) => setName(event.target.value)} />
        </label>
        <label className="field">
          <span>{words.version}</span>
          <select value={chosen} onChange={(event) => setChosen(event.target.value)}>
            {(found.rows.length > 0 ? found.rows : family.versions).map((each) => (
              <option key={each.version} value={each.version}>
                {[each.version, ...each.aliases].join(' · ')}
              </option>
            ))}
          </select>
        </label>
      </div>
      <p id={ids.hint} className="quiet small">
        {words.nameHint}
      </p>
      <datalist id={ids.known}>
        {family.aliases.map((each) => (
          <option key={each.alias} value={each.alias} />
        ))}
      </datalist>
      <label className="field">
        <span>{words.reason}</span>
        <input value={reason} maxLength={2000} onChange={(event) => setReason(event.target.value)} />
      </label>
      <CopyAs
        command={shell('tunix-rt', 'models', 'alias', family.name, at.alias || 'ALIAS', chosen, ...(body.reason ? ['--reason', body.reason] : []))}
        request={{ method: 'PUT', address: address('/api/models/{name}/aliases/{alias}', { at: { ...at, alias: at.alias || 'ALIAS' } }), body }}
      />
    </Confirm>
  )
}
