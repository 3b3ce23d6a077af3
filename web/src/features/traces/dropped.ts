/** A file that was dropped on the list, on its way to the import's page. */
import { useEffect, useState } from 'react'

let waiting: File | null = null

export function takeDropped(): File | null {
  const file = waiting
  waiting = null
  return file
}

/** Files may be dropped anywhere on the page; true while one hangs over it. */
export function useDropAnywhere(dropped: () => void): boolean {
  const [over, setOver] = useState(false)
  useEffect(() => {
    const files = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false
    const onOver = (event: DragEvent) => {
      if (!files(event)) return
      event.preventDefault()
      setOver(true)
    }
    const onLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false)
    }
    const onDrop = (event: DragEvent) => {
      setOver(false)
      const file = event.dataTransfer?.files[0]
      if (!file) return
      event.preventDefault()
      waiting = file
      dropped()
    }
    window.addEventListener('dragover', onOver)
    window.addEventListener('dragleave', onLeave)
    window.addEventListener('drop', onDrop)
    return () => {
      window.removeEventListener('dragover', onOver)
      window.removeEventListener('dragleave', onLeave)
      window.removeEventListener('drop', onDrop)
    }
  }, [dropped])
  return over
}
