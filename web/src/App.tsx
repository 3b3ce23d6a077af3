import { QueryClientProvider } from '@tanstack/react-query'
import { Suspense, useState } from 'react'
import { Link, Route, Switch, useLocation } from 'wouter'

import { queryClient } from './api/hooks'
import { LiveProvider } from './api/live'
import { Boundary } from './Boundary'
import { Layout } from './Layout'
import { ordered } from './pages'
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

function Pages() {
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
