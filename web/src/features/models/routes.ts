import type { PageEntry } from '../../pages'
import { lazy } from '../../parts/lazy'
import { models as text } from '../../text'

export const pages: PageEntry[] = [
  { path: '/models', component: lazy(() => import('./ModelList')), nav: { title: text.title, icon: 'models', order: 43 } },
  { path: '/models/:name', component: lazy(() => import('./ModelPage')) },
]
