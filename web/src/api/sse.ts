/** Server-Sent Events, as they are written on the wire (HTML standard, 9.2.6). */
export interface ServerEvent {
  type: string
  data: string
  id: string | null
}

/** Takes in text as it comes, cut anywhere, and gives back the whole events. */
export class Parser {
  private rest = ''
  private type = ''
  private data: string[] = []
  private id: string | null = null
  /** How long the server wants us to wait before we come back. */
  retry: number | null = null

  push(text: string): ServerEvent[] {
    const found: ServerEvent[] = []
    const whole = this.rest + text
    // A CR at the very end may be half of a CR LF.
    const end = whole.endsWith('\r') ? whole.length - 1 : whole.length
    const lines = whole.slice(0, end).split(/\r\n|\n|\r/)
    this.rest = (lines.pop() ?? '') + whole.slice(end)
    for (const line of lines) {
      if (line === '') {
        if (this.data.length > 0) found.push({ type: this.type || 'message', data: this.data.join('\n'), id: this.id })
        this.type = ''
        this.data = []
        this.id = null
        continue
      }
      const colon = line.indexOf(':')
      if (colon === 0) continue
      const field = colon < 0 ? line : line.slice(0, colon)
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
      if (field === 'event') this.type = value
      else if (field === 'data') this.data.push(value)
      else if (field === 'id') this.id = value
      else if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value)
    }
    return found
  }
}
