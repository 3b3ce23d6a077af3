import { lazy } from 'react'

import type { PageEntry } from '../../pages'
import { home as text } from '../../text'

export const pages: PageEntry[] = [
  { path: '/', component: lazy(() => import('./Home')), nav: { title: text.title, icon: 'home', order: 0 } },
]
