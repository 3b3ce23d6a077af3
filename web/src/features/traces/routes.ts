import type { PageEntry } from '../../pages'
import { lazy } from '../../parts/lazy'
import { traces as text } from '../../text'

export const pages: PageEntry[] = [
  { path: '/traces', component: lazy(() => import('./TraceList')), nav: { title: text.title, icon: 'traces', order: 10 } },
  { path: '/traces/new', component: lazy(() => import('./AddTraces')), command: text.addCommand },
  { path: '/traces/compare', component: lazy(() => import('./CompareTraces')), command: text.compare.title },
  { path: '/traces/:id', component: lazy(() => import('./TracePage')) },
]
