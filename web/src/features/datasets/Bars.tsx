import type { Schemas } from '../../api/client'
import { number, percent } from '../../parts/format'
import { Section } from '../../parts/Page'
import { datasets as text } from '../../text'

type Distribution = Schemas['Distribution']

/** Splits as parts of one bar; each part has a colour, a pattern and its name with its count. */
export function SplitBar({ splits, small }: { splits: Record<string, number>; small?: boolean }) {
  const parts = Object.entries(splits)
  const total = parts.reduce((sum, [, count]) => sum + count, 0)
  const words = parts.map(([name, count]) => `${name} ${number(count)}`).join(', ')
  return (
    <span className={small ? 'split-bar small-bar' : 'split-bar'}>
      <span className="split-parts" role="img" aria-label={words} title={words}>
        {parts.map(([name, count], place) => count > 0 && <span key={name} className={`split-part split-${place % 6}`} style={{ flexGrow: count }} />)}
      </span>
      {small ? (
        <span className="quiet small">{words}</span>
      ) : (
        <span className="split-names">
          {parts.map(([name, count], place) => (
            <span key={name} className={count === 0 ? 'split-empty' : undefined}>
              <span className={`swatch split-${place % 6}`} aria-hidden="true" /> {name} <strong className="num">{number(count)}</strong>{' '}
              <span className="quiet small">{total > 0 ? percent(count / total) : '–'}</span>
            </span>
          ))}
        </span>
      )}
    </span>
  )
}

function range(low: number, high: number): string {
  return low === high ? number(low) : `${number(low)}–${number(high)}`
}

/** A histogram; what it draws is a table to a screen reader, and to whoever asks for it. */
export function Histogram({ title, found }: { title: string; found: Distribution | null }) {
  if (!found) return null
  const most = Math.max(...found.bins.map((bin) => bin.count), 1)
  return (
    <figure className="panel histogram">
      <figcaption>
        <strong>{title}</strong>
        <span className="quiet small">{text.span(number(found.min), number(found.mean), number(found.max))}</span>
      </figcaption>
      <div className="bins" aria-hidden="true">
        {found.bins.map((bin) => (
          <span key={bin.low} className="bin" title={text.bar(range(bin.low, bin.high), bin.count)}>
            <span className={bin.count === 0 ? 'bin-bar none' : 'bin-bar'} style={{ height: `${(bin.count / most) * 100}%` }} />
          </span>
        ))}
      </div>
      <div className="bin-ends quiet small num" aria-hidden="true">
        <span>{number(found.min)}</span>
        <span>{number(found.max)}</span>
      </div>
      <details>
        <summary className="small">{text.asTable}</summary>
        <table className="plain">
          <thead>
            <tr>
              <th scope="col">{title}</th>
              <th scope="col" className="right">
                {text.count}
              </th>
            </tr>
          </thead>
          <tbody>
            {found.bins
              .filter((bin) => bin.count > 0)
              .map((bin) => (
                <tr key={bin.low}>
                  <td className="num">{range(bin.low, bin.high)}</td>
                  <td className="right">{number(bin.count)}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </details>
    </figure>
  )
}

/** Names with their counts, as bars of one scale. */
export function Counts({ title, counts, linkTo }: { title: string; counts: readonly (readonly [string, number])[]; linkTo?: (name: string) => React.ReactNode }) {
  const most = Math.max(1, ...counts.map(([, count]) => count))
  return (
    <Section title={title}>
      <dl className="counts panel">
        {counts.map(([name, count]) => (
          <div key={name}>
            <dt className="cut" title={name}>
              {linkTo ? linkTo(name) : name}
            </dt>
            <dd>
              <span className="count-bar" style={{ width: `${(count / most) * 100}%` }} aria-hidden="true" />
              <span className="num">{number(count)}</span>
            </dd>
          </div>
        ))}
      </dl>
    </Section>
  )
}
