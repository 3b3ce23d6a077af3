import { Component, type ReactNode } from 'react'

import { common as text } from './text'

/** A page that fails in the browser says so, and the rest of the app goes on. */
export class Boundary extends Component<{ children: ReactNode; at: string }, { error: Error | null; at: string }> {
  override state = { error: null as Error | null, at: this.props.at }

  static getDerivedStateFromError(error: Error) {
    return { error }
  }

  static getDerivedStateFromProps(props: { at: string }, state: { at: string }) {
    return props.at === state.at ? null : { error: null, at: props.at }
  }

  override render() {
    const { error } = this.state
    if (!error) return this.props.children
    return (
      <div className="page">
        <div className="problem" role="alert">
          <p className="problem-title">{text.broken}</p>
          <p className="hint">{text.brokenHint}</p>
          <pre>{error.stack ?? String(error)}</pre>
        </div>
      </div>
    )
  }
}
