/** What can be done with a run: cancel it, have it save, go on with it, do it again. */
import { useQueryClient, type QueryClient } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { useLocation } from 'wouter'

import { get, send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { Act } from '../../parts/Act'
import { Confirm } from '../../parts/Dialog'
import { Icon } from '../../parts/Icon'
import { say, sayProblem } from '../../parts/notices'
import { ProblemBox } from '../../parts/Problem'
import { runs as text } from '../../text'
import { isOver } from './status'

type Detail = Schemas['RunDetail']
const CHANGES = ['/api/tunix/runs', '/api/tunix/runs/{id}', '/api/workers']
const CHECKPOINTS = '/api/tunix/runs/{id}/checkpoints'
const LOOK_MS = 1000
const LOOKS = 120

function Cancel({ run, close }: { run: Detail; close: () => void }) {
  const act = useAct(
    () => send('post', '/api/tunix/runs/{id}/cancel', { at: { id: run.run_id } }),
    CHANGES,
    () => {
      say(text.cancelled)
      close()
    },
  )
  return (
    <Confirm
      title={text.cancelTitle}
      action={text.cancelDo}
      danger
      busy={act.isPending}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <p>{text.cancelDetail}</p>
    </Confirm>
  )
}

/** A new run with the same config: from the last checkpoint, or from the start. */
function Again({ run, from, close }: { run: Detail; from: number | null; close: () => void }) {
  const [, go] = useLocation()
  const act = useAct(
    () => send('post', '/api/tunix/runs/{id}/retry', { at: { id: run.run_id }, body: { from_start: from === null } }),
    CHANGES,
    (accepted) => {
      say(text.retried)
      close()
      go(`/runs/${accepted.run_id}`)
    },
  )
  return (
    <Confirm
      title={from === null ? text.retryTitle : text.resumeTitle(from)}
      action={text.retryDo}
      busy={act.isPending}
      problem={act.error && <ProblemBox problem={act.error} />}
      act={() => act.mutate(undefined)}
      close={close}
    >
      <p>{from === null ? text.retryDetail : text.resumeDetail}</p>
    </Confirm>
  )
}

/** Say when a checkpoint is there that was not before; nothing where the run ends without another one. */
async function tellOfNew(client: QueryClient, id: string, known: ReadonlySet<number>): Promise<void> {
  for (let look = 0; look < LOOKS; look += 1) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    const found = (await get(CHECKPOINTS, { at: { id } })).data.find((each) => !known.has(each.step))
    if (found) {
      say(text.checkpoint.saved(found.step))
      void client.invalidateQueries({ queryKey: [CHECKPOINTS] })
      return
    }
    if (isOver((await get('/api/tunix/runs/{id}/status', { at: { id } })).status)) return
  }
}

/** Has a running training save a checkpoint after its present step. */
export function CheckpointNow({ run }: { run: Detail }) {
  const client = useQueryClient()
  const act = useAct(
    async () => {
      const known = (await get(CHECKPOINTS, { at: { id: run.run_id } })).data.map((each) => each.step)
      await send('post', '/api/tunix/runs/{id}/checkpoint', { at: { id: run.run_id } })
      return new Set(known)
    },
    ['/api/tunix/runs/{id}'],
    (known) => {
      say(text.checkpoint.asked)
      tellOfNew(client, run.run_id, known).catch(sayProblem)
    },
  )
  const why = run.mode === 'dry-run' ? text.checkpoint.dry : run.status === 'running' ? act.isPending && text.checkpoint.asking : text.checkpoint.why[run.status]
  return (
    <Act why={why} act={() => act.mutate(undefined, { onError: sayProblem })}>
      <Icon name="download" size={16} /> {text.checkpoint.now}
    </Act>
  )
}

function Resume({ run, ask }: { run: Detail; ask: (step: number) => void }) {
  const checkpoints = useGet(CHECKPOINTS, { at: { id: run.run_id } })
  const last = checkpoints.data?.data.at(-1)
  const why = run.status === 'completed' ? text.resumeOver : checkpoints.isPending ? text.resumeLooking : last ? null : text.resumeNone
  return (
    <Act why={why} act={() => last && ask(last.step)}>
      <Icon name="right" size={16} /> {text.resume}
    </Act>
  )
}

/** The buttons of a run's page that change something, and what they ask before. */
export function Actions({ run, children }: { run: Detail; children?: ReactNode }) {
  const [asking, setAsking] = useState<'cancel' | 'again' | number | null>(null)
  const close = () => setAsking(null)
  const dry = run.mode === 'dry-run'
  return (
    <>
      {children}
      {isOver(run.status) ? (
        <>
          {!dry && <Resume key={run.run_id} run={run} ask={setAsking} />}
          <button type="button" onClick={() => setAsking('again')}>
            <Icon name="again" size={16} /> {dry ? text.retry : text.retryStart}
          </button>
        </>
      ) : (
        <>
          {!dry && <CheckpointNow run={run} />}
          <button type="button" disabled={run.status === 'cancel_requested'} onClick={() => setAsking('cancel')}>
            <Icon name="stop" size={16} /> {text.cancel}
          </button>
        </>
      )}
      {asking === 'cancel' && <Cancel run={run} close={close} />}
      {asking === 'again' && <Again run={run} from={null} close={close} />}
      {typeof asking === 'number' && <Again run={run} from={asking} close={close} />}
    </>
  )
}
