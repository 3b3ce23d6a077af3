import type { PageEntry } from '../../pages'
import { lazy } from '../../parts/lazy'
import { system as text } from '../../text'

export const pages: PageEntry[] = [
  {
    path: '/system',
    component: lazy(() => import('./System')),
    nav: { title: text.title, icon: 'system', order: 90 },
  },
]
