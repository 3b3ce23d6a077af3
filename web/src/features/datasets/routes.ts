import type { PageEntry } from '../../pages'
import { lazy } from '../../parts/lazy'
import { datasets as text } from '../../text'

export const pages: PageEntry[] = [
  { path: '/datasets', component: lazy(() => import('./DatasetList')), nav: { title: text.title, icon: 'datasets', order: 20 } },
  { path: '/datasets/new', component: lazy(() => import('./BuildDataset')), command: text.build },
  { path: '/datasets/:key', component: lazy(() => import('./DatasetPage')) },
]
