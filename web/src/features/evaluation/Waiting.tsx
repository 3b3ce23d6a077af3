/** A judging that a worker does: how far it is, and its evaluation once it is done. */
import { useEffect } from 'react'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useLocation } from 'wouter'

import { get, Problem, type Schemas } from '../../api/client'
import { keyOf } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { Dialog } from '../../parts/Dialog'
import { say } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { common, evaluation as text } from '../../text'
import { CHANGES } from './words'

type Judging = Schemas['JudgingView']

const words = text.judging
const LOOK_MS = 1_000

/** Judges that wait for somebody else, for minutes perhaps: a worker asks them. */
export function slow(judge: string): boolean {
  return judge.trim().split(':')[0] === 'llm'
}

export function Waiting({ judging, close }: { judging: Judging; close: () => void }) {
  const [, go] = useLocation()
  const client = useQueryClient()
  const at = { number: String(judging.job) }
  const found = useQuery<Judging, Problem>({
    queryKey: keyOf('/api/judgings/{number}', { at }),
    queryFn: ({ signal }) => get('/api/judgings/{number}', { at, signal }),
    refetchInterval: ({ state }) => (state.data && over(state.data) ? false : LOOK_MS),
  })
  const now = found.data ?? judging
  const made = now.evaluation_id
  useEffect(() => {
    if (made === null) return
    for (const path of CHANGES) void client.invalidateQueries({ queryKey: [path] })
    say(words.done(now.judge))
    close()
    go(`/evaluations/${made}`)
  }, [made, now.judge, client, close, go])
  return (
    <Dialog title={words.title} close={close}>
      <div className="dialog-body stack" aria-live="polite">
        {found.error && <ProblemBox problem={found.error} />}
        <p>{words.state[now.state]}</p>
        <progress max={now.n} value={now.n_judged} aria-label={words.progress(now.n_judged, now.n)} />
        <p className="num">{words.progress(now.n_judged, now.n)}</p>
        {now.reason !== null && <p>{words.reason(now.reason)}</p>}
        {!over(now) && <p className="quiet">{words.goesOn}</p>}
      </div>
      <div className="dialog-foot">
        <CopyAs request={{ method: 'GET', address: `/api/judgings/${judging.job}` }} />
        <button type="button" onClick={close}>
          {common.close}
        </button>
      </div>
    </Dialog>
  )
}

function over(judging: Judging): boolean {
  return judging.state !== 'pending' && judging.state !== 'running'
}
