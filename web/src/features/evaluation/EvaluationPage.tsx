import { useState } from 'react'
import { Link, useParams } from 'wouter'

import { useGet } from '../../api/hooks'
import { pages } from '../../pages'
import { Badge } from '../../parts/Badge'
import { CopyAs, Id } from '../../parts/copy'
import { shortId } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Page } from '../../parts/Page'
import { shell } from '../../parts/request'
import { Tabs, type Tab } from '../../parts/Tabs'
import { evaluation as text } from '../../text'
import { Marks } from './Board'
import './evaluation.css'
import { Figures } from './Figures'
import { Items } from './Items'
import { JudgeAgain, Verify } from './Judging'
import { Waive } from './Waive'

type Asking = 'judge' | 'verify' | 'waive'

export default function EvaluationPage() {
  const { id = '' } = useParams<{ id: string }>()
  const found = useGet('/api/evaluations/{evaluation_id}', { at: { evaluation_id: id } })
  const [asking, setAsking] = useState<Asking | null>(null)
  const one = found.data
  const close = () => setAsking(null)
  const tabs: Tab[] = one
    ? [
        { id: 'figures', name: text.page.tabs.figures, content: () => <Figures of={one} /> },
        { id: 'items', name: text.page.tabs.items, count: one.n_items, content: () => <Items of={one} /> },
      ]
    : []
  const gates = pages.some((page) => page.path === '/gates')
  return (
    <Page
      title={one?.name ?? text.page.evaluation(shortId(id))}
      above={<Link href="/evaluations">{text.list.title}</Link>}
      beside={
        one && (
          <>
            <Marks of={one} />
            {one.held_back && <Badge tone="warn">{text.page.heldBack}</Badge>}
            <Id id={one.id} />
          </>
        )
      }
      actions={
        one && (
          <>
            <CopyAs command={shell('tunix-rt', 'evaluations', 'show', one.id)} request={{ address: `/api/evaluations/${one.id}` }} />
            {one.held_back && (
              <button type="button" onClick={() => setAsking('waive')}>
                {text.leaderboard.waive}…
              </button>
            )}
            {gates && (
              <Link className="button" href={`/gates?set=${one.id}`}>
                {text.page.baseline}
              </Link>
            )}
            <button type="button" onClick={() => setAsking('judge')}>
              <Icon name="again" size={16} /> {text.page.judge}
            </button>
            <button type="button" onClick={() => setAsking('verify')}>
              <Icon name="check" size={16} /> {text.page.verify}
            </button>
            <Link className="button primary" href={`/evaluations/compare?base=${one.id}`}>
              <Icon name="compare" size={16} /> {text.page.compare}
            </Link>
          </>
        )
      }
      loading={found.isPending}
      problem={found.error}
      again={() => void found.refetch()}
    >
      <Tabs label={text.page.tabs.label} tabs={tabs} />
      {one && asking === 'judge' && <JudgeAgain evaluation={one} close={close} />}
      {one && asking === 'verify' && <Verify evaluation={one} close={close} />}
      {one && asking === 'waive' && <Waive evaluation={one} close={close} />}
    </Page>
  )
}
