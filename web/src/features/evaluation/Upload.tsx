import { useState } from 'react'
import { useLocation } from 'wouter'

import { send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { Confirm } from '../../parts/Dialog'
import { Field } from '../../parts/Field'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { evaluation as text } from '../../text'
import { JudgeField } from './JudgeField'
import { slow, Waiting } from './Waiting'
import { CHANGES } from './words'

const words = text.upload
const ANOTHER = ' another' // no eval set is called so: names begin with a letter or a figure
const SIDECAR = /\.meta\.json$/i

/** Predictions as they are sent: alone, or in a form with the file that says how they were decoded. */
function uploadOf(answers: File, meta: File | null): File | FormData {
  if (meta === null) return answers
  const form = new FormData()
  form.append('predictions', answers)
  form.append('meta', meta)
  return form
}

/** Predictions from anywhere, judged against an eval set that is there or comes with them. */
export function Upload({ close }: { close: () => void }) {
  const [, go] = useLocation()
  const sets = useGet('/api/eval-sets', { query: { limit: 200 } })
  const known = sets.data?.data ?? []
  const [chosen, setChosen] = useState('')
  const [items, setItems] = useState<File | null>(null)
  const [files, setFiles] = useState<readonly File[]>([])
  const [name, setName] = useState('')
  const [values, setValues] = useState<Record<string, string>>({})
  const set = chosen || (known[0]?.name ?? ANOTHER)
  const meta = files.find((file) => SIDECAR.test(file.name)) ?? null
  const rest = files.filter((file) => file !== meta)
  const answers = rest.length === 1 ? (rest[0] ?? null) : null
  const called = name.trim() || (answers?.name.replace(/\.[^.]*$/, '') ?? '')
  const [waited, wait] = useState<Schemas['JudgingView'] | null>(null)
  const act = useAct(
    async (file: File) => {
      const eval_set = set === ANOTHER && items ? (await send('post', '/api/eval-sets', { upload: items })).name : set
      const mode = slow(values['judge'] ?? '') ? { mode: 'async' } : {}
      return send('post', '/api/evaluations', { query: { ...values, ...mode, name: called, eval_set }, upload: uploadOf(file, meta) })
    },
    [...CHANGES, '/api/eval-sets'],
    (made) => {
      if ('job' in made) return wait(made)
      say(words.done(made.name))
      close()
      go(`/evaluations/${made.id}`)
    },
  )
  const typed = (key: string, label: string, type = 'text', hint?: string) => (
    <Field label={label} {...(hint ? { hint } : {})}>
      {(id, described) => (
        <input
          id={id}
          type={type}
          {...(type === 'number' ? { min: 0, step: 'any' } : {})}
          aria-describedby={described}
          value={values[key] ?? ''}
          onChange={(event) => setValues({ ...values, [key]: event.target.value })}
        />
      )}
    </Field>
  )
  if (waited) return <Waiting judging={waited} close={close} />
  return (
    <Confirm
      title={words.title}
      action={act.isPending ? text.judging.busy : words.act}
      busy={act.isPending || answers === null || called === '' || (set === ANOTHER && items === null)}
      problem={(act.error ?? sets.error) && <ProblemBox problem={act.error ?? sets.error} />}
      act={() => answers && act.mutate(answers)}
      close={close}
    >
      <Field
        label={words.predictions}
        hint={files.length > 0 && answers === null ? <span role="alert">{words.onePredictions}</span> : meta ? words.described(meta.name) : words.predictionsHint}
      >
        {(id, described) => (
          <input
            id={id}
            type="file"
            multiple
            accept=".jsonl,.ndjson,.json"
            aria-describedby={described}
            onChange={(event) => setFiles([...(event.target.files ?? [])])}
          />
        )}
      </Field>
      <Field label={words.evalSet}>
        {(id) => (
          <select id={id} value={set} onChange={(event) => setChosen(event.target.value)}>
            {known.map((each) => (
              <option key={each.id} value={each.name}>
                {words.items(each.name, each.n_items)}
              </option>
            ))}
            <option value={ANOTHER}>{words.another}</option>
          </select>
        )}
      </Field>
      {set === ANOTHER && (
        <Field label={words.itemsFile} hint={words.itemsHint}>
          {(id, described) => (
            <input id={id} type="file" accept=".jsonl,.ndjson,.json" aria-describedby={described} onChange={(event) => setItems(event.target.files?.[0] ?? null)} />
          )}
        </Field>
      )}
      <Field label={words.name}>
        {(id) => <input id={id} value={name} maxLength={200} placeholder={called} onChange={(event) => setName(event.target.value)} />}
      </Field>
      <details>
        <summary>{words.more}</summary>
        <p className="quiet small">{words.moreHint}</p>
        <div className="fields">
          <JudgeField value={values['judge'] ?? ''} placeholder="answer_correctness" choose={(judge) => setValues({ ...values, judge })} />
          {typed('model_id', text.leaderboard.model)}
          {typed('dataset_key', text.page.facts.dataset)}
          {typed('temperature', words.temperature, 'number')}
          {typed('max_new_tokens', words.tokens, 'number')}
        </div>
      </details>
    </Confirm>
  )
}
