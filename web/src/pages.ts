/** Every page: each slice of `features/` says its own in its `routes.ts`; nobody edits a list of all. */
import type { ComponentType } from 'react'

import type { IconName } from './parts/Icon'
import type { Lazy } from './parts/lazy'

export interface PageEntry {
  /** Of wouter: `/runs/:id`. */
  path: string
  component: Lazy<ComponentType> | ComponentType
  /** Where it stands in the navigation and the palette; left out: only reached from other pages. */
  nav?: { title: string; icon: IconName; order: number }
  /** Reached from the palette, not in the navigation: "Start a run". */
  command?: string
}

const found = import.meta.glob<{ pages: PageEntry[] }>('./features/*/routes.ts', { eager: true })

export const pages: readonly PageEntry[] = Object.values(found).flatMap((module) => module.pages)

/** Those of the navigation, in its order. */
export const navigation = pages
  .flatMap((page) => (page.nav ? [{ path: page.path, ...page.nav }] : []))
  .sort((a, b) => a.order - b.order)

/** A fixed path before one with a name: `/runs/compare` is not the run "compare". */
export const ordered = [...pages].sort((a, b) => Number(a.path.includes(':')) - Number(b.path.includes(':')))
