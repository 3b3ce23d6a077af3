/** Short words about what just happened, told to screen readers too; they go by themselves, problems stay. */
import { useSyncExternalStore } from 'react'

import { common as text } from '../text'
import { Icon } from './Icon'
import { ProblemBox } from './Problem'

interface Notice {
  id: number
  text?: string
  problem?: unknown
}

let notices: readonly Notice[] = []
let last = 0
const watchers = new Set<() => void>()

function change(next: readonly Notice[]): void {
  notices = next
  for (const told of watchers) told()
}

function remove(id: number): void {
  change(notices.filter((notice) => notice.id !== id))
}

export function say(words: string): void {
  const id = (last += 1)
  change([...notices.slice(-3), { id, text: words }])
  setTimeout(() => remove(id), 5000)
}

export function sayProblem(problem: unknown): void {
  change([...notices.slice(-3), { id: (last += 1), problem }])
}

export function Notices() {
  const shown = useSyncExternalStore(
    (told) => {
      watchers.add(told)
      return () => watchers.delete(told)
    },
    () => notices,
  )
  return (
    <div className="notices" aria-live="polite">
      {shown.map((notice) => (
        <div key={notice.id} className="notice">
          {notice.problem ? <ProblemBox problem={notice.problem} /> : <p>{notice.text}</p>}
          <button type="button" className="ghost square" aria-label={text.close} onClick={() => remove(notice.id)}>
            <Icon name="close" size={14} />
          </button>
        </div>
      ))}
    </div>
  )
}
