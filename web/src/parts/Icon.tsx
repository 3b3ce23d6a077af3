/** Drawn with the text's colour; what an icon means is always said in words beside it. */
const SHAPES = {
  home: 'M3 9.5 10 3l7 6.5V17h-5v-5H8v5H3z',
  traces: 'M4 5h12M4 10h8M4 15h10',
  datasets: 'M3 5.5C3 4 6 3 10 3s7 1 7 2.5v9c0 1.500-3 2.500-7 2.500s-7-1-7-2.500zM3 10c0 1.500 3 2.500 7 2.500s7-1 7-2.500M3 5.500C3 7 6 8 10 8s7-1 7-2.500',
  runs: 'M6 4l10 6-10 6z',
  compare: 'M6 3v14M14 3v14M3 7h6M11 12h6',
  evaluations: 'M3 17V9M8 17V4M13 17v-6M18 17H2',
  gates: 'M4 17V4M16 17V4M4 7h12M4 12h12M10 7v5',
  models: 'M10 2l7 4v8l-7 4-7-4V6zM3 6l7 4 7-4M10 10v8',
  system: 'M3 4h14v5H3zM3 11h14v5H3zM6 6.500h.01M6 13.500h.01',
  search: 'M9 15A6 6 0 1 0 9 3a6 6 0 0 0 0 12zM13.500 13.500 17 17',
  menu: 'M3 5h14M3 10h14M3 15h14',
  close: 'M5 5l10 10M15 5 5 15',
  copy: 'M7 7h9v9H7zM4 13V4h9',
  check: 'M4 10.500 8 15l8-10',
  down: 'M5 8l5 5 5-5',
  up: 'M5 12l5-5 5 5',
  right: 'M8 5l5 5-5 5',
  download: 'M10 3v9M6 9l4 4 4-4M4 17h12',
  theme: 'M10 3a7 7 0 1 0 7 7 5.500 5.500 0 0 1-7-7z',
  columns: 'M3 4h14v12H3zM8 4v12M12.500 4v12',
  warning: 'M10 3 2.500 16.500h15zM10 8v4M10 14.500h.01',
  plus: 'M10 4v12M4 10h12',
  stop: 'M5 5h10v10H5z',
  again: 'M16 10a6 6 0 1 1-2-4.500M16 3v4h-4',
} as const

export type IconName = keyof typeof SHAPES

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={SHAPES[name]} />
    </svg>
  )
}
