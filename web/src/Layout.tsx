import { useEffect, useRef, useState, type ReactNode } from 'react'
import { Link, useLocation } from 'wouter'

import { useLiveState } from './api/live'
import { navigation } from './pages'
import { Icon } from './parts/Icon'
import { Notices } from './parts/notices'
import { Palette } from './Palette'
import { common as text } from './text'
import { chooseTheme, chosenTheme, type Theme } from './theme'

const APPLE = typeof navigator !== 'undefined' && /Mac|iPhone|iPad/.test(navigator.userAgent)

function ThemeSwitch() {
  const [theme, setTheme] = useState<Theme>(chosenTheme)
  return (
    <label className="theme-switch">
      <Icon name="theme" size={16} />
      <span className="unseen">{text.theme.label}</span>
      <select
        value={theme}
        onChange={(event) => {
          const next = event.target.value as Theme
          setTheme(next)
          chooseTheme(next)
        }}
      >
        <option value="system">{text.theme.system}</option>
        <option value="light">{text.theme.light}</option>
        <option value="dark">{text.theme.dark}</option>
      </select>
    </label>
  )
}

function LiveMark() {
  const state = useLiveState()
  if (state === 'off') return null
  const on = state === 'open'
  return (
    <span className={on ? 'live-mark on' : 'live-mark'} role="status" title={on ? undefined : text.live.offHint}>
      <span className="dot" aria-hidden="true" />
      {on ? text.live.on : text.live.off}
    </span>
  )
}

/** The frame of every page: navigation at the side, folded behind a button where there is little room. */
export function Layout({ children }: { children: ReactNode }) {
  const [path] = useLocation()
  const [open, setOpen] = useState(false)
  const [palette, setPalette] = useState(false)
  const main = useRef<HTMLElement>(null)
  const former = useRef(path)

  useEffect(() => {
    // Another page: the reader goes to its top, and a screen reader hears its name.
    if (former.current === path) return
    former.current = path
    setOpen(false)
    main.current?.scrollTo(0, 0)
    main.current?.focus({ preventScroll: true })
  }, [path])

  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === 'k') {
        event.preventDefault()
        setPalette((shown) => !shown)
      } else if (event.key === 'Escape') setOpen(false)
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [])

  return (
    <div className={open ? 'frame open' : 'frame'}>
      <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus() }}>
        {text.skip}
      </a>
      <header className="side">
        <div className="side-top">
          <Link href="/" className="brand">
            <img src="/icon.svg" alt="" width="22" height="22" />
            {text.product}
          </Link>
          <button type="button" className="ghost square only-narrow" aria-label={text.palette.open} onClick={() => setPalette(true)}>
            <Icon name="search" />
          </button>
          <button
            type="button"
            className="ghost square only-narrow"
            aria-expanded={open}
            aria-controls="navigation"
            aria-label={text.menu}
            onClick={() => setOpen(!open)}
          >
            <Icon name={open ? 'close' : 'menu'} />
          </button>
        </div>
        <div id="navigation" className="side-body">
          <button type="button" className="search-button" onClick={() => setPalette(true)}>
            <Icon name="search" size={16} />
            <span>{text.palette.open}</span>
            <kbd>{APPLE ? '⌘K' : 'Ctrl K'}</kbd>
          </button>
          <nav aria-label={text.menu}>
            <ul>
              {navigation.map((page) => {
                const on = page.path === '/' ? path === '/' : path === page.path || path.startsWith(`${page.path}/`)
                return (
                  <li key={page.path}>
                    <Link href={page.path} aria-current={on ? 'page' : undefined}>
                      <Icon name={page.icon} />
                      {page.title}
                    </Link>
                  </li>
                )
              })}
            </ul>
          </nav>
          <div className="side-foot">
            <LiveMark />
            <ThemeSwitch />
          </div>
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        {children}
      </main>
      {palette && <Palette close={() => setPalette(false)} />}
      <Notices />
    </div>
  )
}
