import type { PageEntry } from '../../pages'
import { lazy } from '../../parts/lazy'
import { runs as text } from '../../text'

export const pages: PageEntry[] = [
  { path: '/runs', component: lazy(() => import('./RunList')), nav: { title: text.title, icon: 'runs', order: 30 } },
  { path: '/runs/new', component: lazy(() => import('./RunForm')), command: text.startCommand },
  { path: '/runs/compare', component: lazy(() => import('./CompareRuns')), command: text.compare.command },
  { path: '/runs/:id', component: lazy(() => import('./RunPage')) },
]
