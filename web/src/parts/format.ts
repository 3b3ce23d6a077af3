/** Figures as people read them. */
const SIZES = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

export function bytes(count: number): string {
  let value = count
  let place = 0
  while (value >= 1024 && place < SIZES.length - 1) {
    value /= 1024
    place += 1
  }
  return `${place === 0 || value >= 100 ? Math.round(value) : value.toPrecision(3)} ${SIZES[place] ?? ''}`
}

/** 75 s is `1 min 15 s`; two units at most. */
export function duration(seconds: number): string {
  if (seconds < 1) return seconds <= 0 ? '0 s' : `${seconds.toPrecision(2)} s`
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`
  let whole = Math.round(seconds)
  const parts: string[] = []
  for (const [unit, size] of [['d', 86400], ['h', 3600], ['min', 60], ['s', 1]] as const) {
    const count = Math.floor(whole / size)
    whole -= count * size
    if (count > 0) parts.push(`${count} ${unit}`)
    else if (parts.length > 0) break
  }
  return parts.slice(0, 2).join(' ')
}

/** Four significant digits; a text (NaN, Infinity) as it is; nothing as a dash. */
export function number(value: number | string | null | undefined): string {
  if (value === null || value === undefined) return '–'
  if (typeof value === 'string') return value
  if (!Number.isFinite(value)) return String(value)
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString('en')
  const size = Math.abs(value)
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2)
  return size >= 1000 ? Math.round(value).toLocaleString('en') : String(Number(value.toPrecision(4)))
}

export function percent(share: number | null | undefined, digits = 1): string {
  return share === null || share === undefined ? '–' : `${(share * 100).toFixed(digits)} %`
}

/** `3 min ago`, `in 2 h`, `just now`. */
export function relative(when: Date, now: Date): string {
  const seconds = (now.getTime() - when.getTime()) / 1000
  const size = Math.abs(seconds)
  if (size < 10) return 'just now'
  const [count, unit] =
    size < 60
      ? [size, 's']
      : size < 3600
        ? [size / 60, 'min']
        : size < 86400
          ? [size / 3600, 'h']
          : size < 86400 * 60
            ? [size / 86400, 'd']
            : size < 86400 * 700
              ? [size / 86400 / 30.4, 'months']
              : [size / 86400 / 365.25, 'years']
  const shown = `${Math.floor(count)} ${unit}`
  return seconds > 0 ? `${shown} ago` : `in ${shown}`
}

/** The beginning and the end: ids begin with their time, so that those of a minute begin alike. */
export function shortId(id: string): string {
  return id.length <= 14 ? id : `${id.slice(0, 8)}…${id.slice(-4)}`
}
