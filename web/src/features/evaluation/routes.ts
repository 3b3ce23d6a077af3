import type { PageEntry } from '../../pages'
import { lazy } from '../../parts/lazy'
import { evaluation as text } from '../../text'

export const pages: PageEntry[] = [
  {
    path: '/leaderboard',
    component: lazy(() => import('./Leaderboard')),
    nav: { title: text.leaderboard.title, icon: 'evaluations', order: 40 },
  },
  { path: '/evaluations', component: lazy(() => import('./EvaluationList')), nav: { title: text.list.title, icon: 'check', order: 41 } },
  { path: '/evaluations/compare', component: lazy(() => import('./ComparePage')), command: text.compare.command },
  { path: '/evaluations/:id', component: lazy(() => import('./EvaluationPage')) },
  { path: '/gates', component: lazy(() => import('./Gates')), nav: { title: text.gates.title, icon: 'gates', order: 42 } },
]
