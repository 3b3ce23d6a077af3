import type { PageEntry } from '../../pages'
import { lazy } from '../../parts/lazy'
import { home as text } from '../../text'

export const pages: PageEntry[] = [
  { path: '/', component: lazy(() => import('./Home')), nav: { title: text.title, icon: 'home', order: 0 } },
]
