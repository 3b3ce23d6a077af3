import { useEffect, type ReactNode } from 'react'

import { common as text } from '../text'
import { ProblemBox } from './Problem'
import { Skeleton } from './Skeleton'

export interface Empty {
  title: string
  /** What to do. */
  detail: ReactNode
  action?: ReactNode
}

interface Faces {
  loading?: boolean | undefined
  problem?: unknown
  again?: (() => void) | undefined
  empty?: Empty | false | null | undefined
  skeleton?: ReactNode
  children: ReactNode
}

/** The four faces of what is asked of the server: loading, problem, empty, full. */
export function Face({ loading, problem, again, empty, skeleton, children }: Faces) {
  if (problem) return <ProblemBox problem={problem} again={again} />
  if (loading) return skeleton ?? <Skeleton />
  if (empty) {
    return (
      <div className="empty">
        <h2>{empty.title}</h2>
        <div className="detail">{empty.detail}</div>
        {empty.action && <div className="actions">{empty.action}</div>}
      </div>
    )
  }
  return children
}

interface PageProps extends Faces {
  title: string
  /** Beside the title: a badge, an id. */
  beside?: ReactNode
  /** What can be done here, at the right. */
  actions?: ReactNode
  /** Above the title: where it belongs to. */
  above?: ReactNode
  /** Under the title, whatever the face: filters, tabs. */
  bar?: ReactNode
  /** The page's list fills the height and scrolls by itself. */
  fills?: boolean
}

/** A page: its name, what can be done, and one of the four faces. */
export function Page({ title, beside, actions, above, bar, fills, ...faces }: PageProps) {
  useEffect(() => {
    document.title = `${title} · ${text.product}`
  }, [title])
  return (
    <div className={fills ? 'page fills' : 'page'}>
      <header className="page-head">
        <div className="page-name">
          {above && <div className="above">{above}</div>}
          <div className="title-line">
            <h1 tabIndex={-1}>{title}</h1>
            {beside}
          </div>
        </div>
        {actions && <div className="actions">{actions}</div>}
      </header>
      {bar}
      <Face {...faces} />
    </div>
  )
}

/** A part of a page with a name. */
export function Section({ title, beside, children, id }: { title: string; beside?: ReactNode; children: ReactNode; id?: string }) {
  return (
    <section className="section" id={id} aria-label={title}>
      <div className="section-head">
        <h2>{title}</h2>
        {beside}
      </div>
      {children}
    </section>
  )
}

/** Names and values. */
export function Facts({ facts }: { facts: readonly (readonly [string, ReactNode] | false | null | undefined)[] }) {
  return (
    <dl className="facts">
      {facts.map(
        (fact) =>
          fact && (
            <div key={fact[0]}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1] ?? '–'}</dd>
            </div>
          ),
      )}
    </dl>
  )
}
