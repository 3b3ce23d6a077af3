import { QueryClientProvider } from '@tanstack/react-query'
import { Suspense, useEffect, useState } from 'react'
import { Link, matchRoute, Route, Switch, useLocation, useRouter } from 'wouter'

import { queryClient } from './api/hooks'
import { LiveProvider } from './api/live'
import { Boundary } from './Boundary'
import { Layout } from './Layout'
import { ordered, type PageEntry } from './pages'
import { Page } from './parts/Page'
import { Skeleton } from './parts/Skeleton'
import { common as text } from './text'

function NotFound() {
  const [path] = useLocation()
  return (
    <Page
      title={text.notFound.title}
      empty={{
        title: text.notFound.detail(path),
        detail: null,
        action: (
          <Link className="button primary" href="/">
            {text.notFound.home}
          </Link>
        ),
      }}
    >
      {null}
    </Page>
  )
}

const SETTLED_MS = 2000

/** Other pages are fetched once this one has settled, or when somebody is about to go there: then they open at once. */
function usePreloading() {
  const { parser } = useRouter()
  useEffect(() => {
    const onIntent = ({ target }: Event) => {
      const link = target instanceof Element ? target.closest<HTMLAnchorElement>('a[href^="/"]') : null
      const page = link && ordered.find((each) => matchRoute(parser, each.path, new URL(link.href).pathname)[0])
      if (page) preload(page)
    }
    const preload = (page: PageEntry) => 'preload' in page.component && page.component.preload()
    const timer = setTimeout(() => ordered.forEach(preload), SETTLED_MS)
    const kinds = ['pointerover', 'focusin'] as const
    for (const kind of kinds) document.addEventListener(kind, onIntent, { passive: true })
    return () => {
      clearTimeout(timer)
      for (const kind of kinds) document.removeEventListener(kind, onIntent)
    }
  }, [parser])
}

function Pages() {
  usePreloading()
  const [path] = useLocation()
  return (
    <Boundary at={path}>
      <Suspense
        fallback={
          <div className="page">
            <Skeleton />
          </div>
        }
      >
        <Switch>
          {ordered.map((page) => (
            <Route key={page.path} path={page.path} component={page.component as never} />
          ))}
          <Route component={NotFound} />
        </Switch>
      </Suspense>
    </Boundary>
  )
}

export function App() {
  const [client] = useState(queryClient)
  return (
    <QueryClientProvider client={client}>
      <LiveProvider>
        <Layout>
          <Pages />
        </Layout>
      </LiveProvider>
    </QueryClientProvider>
  )
}
