/** Parts of the app that are fetched when they are needed, or a little before. */
import { lazy as lazyOfReact, type ComponentType, type LazyExoticComponent } from 'react'

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- as React has it
type Any = ComponentType<any>
export type Lazy<C extends Any> = LazyExoticComponent<C> & { preload: () => void }

/** As React's, but what was fetched before is shown at once: React would show a fallback first, for 300 ms at least. */
export function lazy<C extends Any>(load: () => Promise<{ default: C }>): Lazy<C> {
  let found: { default: C } | undefined
  const fetched = () => load().then((part) => (found = part))
  const component = lazyOfReact<C>(() => {
    const part = found
    // A promise that is kept tells so later; this tells it at once, which is all that React asks of it.
    return part ? ({ then: (told: (part: { default: C }) => void) => told(part) } as Promise<{ default: C }>) : fetched()
  })
  return Object.assign(component, { preload: () => void fetched().catch(() => undefined) })
}
