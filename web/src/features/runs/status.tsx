import type { Schemas } from '../../api/client'
import { Badge, type Tone } from '../../parts/Badge'
import { runs as text } from '../../text'

export type Status = Schemas['RunStatus']

export const TONES: Record<Status, Tone> = {
  pending: 'wait',
  running: 'busy',
  cancel_requested: 'warn',
  completed: 'good',
  failed: 'bad',
  timeout: 'bad',
  cancelled: 'off',
}
export const STATUSES = Object.keys(TONES) as Status[]

const OVER: Record<Status, boolean> = {
  pending: false,
  running: false,
  cancel_requested: false,
  completed: true,
  failed: true,
  timeout: true,
  cancelled: true,
}
export const isOver = (status: Status): boolean => OVER[status]
/** Its process may write: one that waits does not. */
export const isRunning = (status: Status): boolean => status === 'running' || status === 'cancel_requested'

export function RunStatus({ status, reason }: { status: Status; reason?: string | null | undefined }) {
  return (
    <Badge tone={TONES[status]} title={reason ?? undefined}>
      {text.status[status]}
    </Badge>
  )
}
