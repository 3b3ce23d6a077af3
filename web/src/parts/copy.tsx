import { useId, useRef, useState } from 'react'

import { common as text } from '../text'
import { shortId } from './format'
import { Icon } from './Icon'
import { say } from './notices'
import { asCurl, asPython, type Request } from './request'

export async function copy(words: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(words)
  } catch {
    // Without HTTPS there is no clipboard: the older way.
    const area = document.createElement('textarea')
    area.value = words
    document.body.append(area)
    area.select()
    document.execCommand('copy')
    area.remove()
  }
  say(text.copied)
}

/** An id, short; a click copies the whole. */
export function Id({ id, label }: { id: string; label?: string }) {
  return (
    <button
      type="button"
      className="id"
      title={`${id}\n${text.copy}`}
      onClick={() => void copy(id)}
    >
      <span className="unseen">
        {text.copy} {label}{' '}
      </span>
      {shortId(id)}
    </button>
  )
}

/** The present view or action, for the terminal, for curl, for Python. */
export function CopyAs({ command, request }: { command?: string | undefined; request?: Request | undefined }) {
  const id = useId()
  const popover = useRef<HTMLDivElement>(null)
  const [shown, setShown] = useState(false)
  const choices: [string, string][] = [
    ...(command ? [[text.asCommand, command] as [string, string]] : []),
    ...(request
      ? ([
          [text.asCurl, asCurl(request)],
          [text.asPython, asPython(request)],
        ] as [string, string][])
      : []),
  ]
  return (
    <div className="menu-holder">
      <button type="button" className="ghost" popoverTarget={id}>
        <Icon name="copy" size={16} /> {text.copyAs}
      </button>
      <div id={id} ref={popover} popover="auto" className="menu wide-menu" onToggle={(event) => setShown(event.newState === 'open')}>
        {shown &&
          choices.map(([name, words]) => (
            <button
              key={name}
              type="button"
              className="menu-item stacked"
              onClick={() => {
                void copy(words)
                popover.current?.hidePopover()
              }}
            >
              <span>{name}</span>
              <code>{words}</code>
            </button>
          ))}
      </div>
    </div>
  )
}
