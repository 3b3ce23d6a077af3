import { useId, useState } from 'react'
import { useLocation } from 'wouter'

import { address, send, type Schemas } from '../../api/client'
import { useAct } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { Confirm } from '../../parts/Dialog'
import { number } from '../../parts/format'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { datasets as text } from '../../text'

const said = text.evalSet

/** A held-out split becomes the eval set by which models are judged; a run on the other splits is the next step. */
export function MakeEvalSet({ manifest, splits, close }: { manifest: Schemas['Manifest']; splits: string[]; close: () => void }) {
  const id = useId()
  const [, go] = useLocation()
  const [split, setSplit] = useState(splits[0] ?? '')
  const [name, setName] = useState('')
  const called = name.trim() || `${manifest.dataset_key}-${split}`
  const query = { dataset_key: manifest.dataset_key, split, name: called }
  const act = useAct(
    () => send('post', '/api/eval-sets', { query }),
    ['/api/eval-sets'],
    (made) => {
      say(said.done(made.name, made.n_items))
      close()
      go(`/runs/new?dataset=${encodeURIComponent(manifest.dataset_key)}&eval_set=${encodeURIComponent(made.name)}`)
    },
  )
  return (
    <Confirm
      title={said.title}
      action={said.act}
      busy={act.isPending}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <p>{said.detail}</p>
      <div className="field">
        <label htmlFor={`${id}split`}>{text.split}</label>
        <select id={`${id}split`} value={split} onChange={(event) => setSplit(event.target.value)}>
          {splits.map((each) => (
            <option key={each} value={each}>
              {each} ({number(manifest.splits[each]?.count ?? 0)})
            </option>
          ))}
        </select>
      </div>
      <div className="field">
        <label htmlFor={`${id}name`}>{text.form.name}</label>
        <input id={`${id}name`} value={name} maxLength={100} pattern="[a-z0-9][a-z0-9._\-]*" placeholder={called} onChange={(event) => setName(event.target.value)} />
      </div>
      <p>
        <CopyAs request={{ method: 'POST', address: address('/api/eval-sets', { query }) }} />
      </p>
    </Confirm>
  )
}
