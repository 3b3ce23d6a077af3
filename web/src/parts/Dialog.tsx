import { useEffect, useId, useRef, type ReactNode } from 'react'

import { common as text } from '../text'
import { Icon } from './Icon'

/** A native modal dialog: the browser keeps the focus inside, and Escape closes it. */
export function Dialog({
  title,
  close,
  children,
  wide,
}: {
  title: string
  close: () => void
  children: ReactNode
  wide?: boolean
}) {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useEffect(() => {
    const dialog = ref.current
    const before = document.activeElement
    if (dialog && !dialog.open) dialog.showModal()
    return () => {
      dialog?.close()
      if (before instanceof HTMLElement) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={ref}
      className={wide ? 'dialog wide-dialog' : 'dialog'}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault()
        close()
      }}
    >
      <div className="dialog-head">
        <h2 id={id}>{title}</h2>
        <button type="button" className="ghost square" aria-label={text.close} onClick={close}>
          <Icon name="close" size={16} />
        </button>
      </div>
      {children}
    </dialog>
  )
}

/** Asks before something is done that cannot be taken back. */
export function Confirm({
  title,
  children,
  action,
  busy,
  problem,
  danger,
  act,
  close,
}: {
  title: string
  children: ReactNode
  action: string
  busy?: boolean
  problem?: ReactNode
  danger?: boolean
  act: () => void
  close: () => void
}) {
  return (
    <Dialog title={title} close={close}>
      <div className="dialog-body">
        {children}
        {problem}
      </div>
      <div className="dialog-foot">
        <button type="button" onClick={close}>
          {text.close}
        </button>
        <button type="button" className={danger ? 'danger' : 'primary'} disabled={busy} onClick={act}>
          {action}
        </button>
      </div>
    </Dialog>
  )
}
