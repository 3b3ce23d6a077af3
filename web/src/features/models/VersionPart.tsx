import { address, send, type Schemas } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { Badge } from '../../parts/Badge'
import { copy, Id } from '../../parts/copy'
import { bytes, number, percent } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Face, Facts, Section } from '../../parts/Page'
import { usePlace } from '../../parts/place'
import { ProblemBox } from '../../parts/Problem'
import { Skeleton } from '../../parts/Skeleton'
import { Time } from '../../parts/Time'
import { common, models as text } from '../../text'
import { Card } from './Card'
import { Aliases, Base, DatasetLink, Range, RunLink, Score } from './Parts'
import { exact } from './words'

type Detail = Schemas['VersionDetail']

const words = text.version

function About({ of }: { of: Detail }) {
  const from = of.provenance
  return (
    <div className="panel">
      <Facts
        facts={[
          [words.facts.promoted, <Time key="promoted" at={of.created_at} />],
          [words.facts.by, of.actor],
          [text.columns.aliases, <Aliases key="aliases" of={of.aliases} />],
          [words.facts.run, <RunLink key="run" id={of.run_id} />],
          [words.facts.dataset, <DatasetLink key="dataset" name={from.dataset_key} />],
          [words.facts.base, <Base key="base" of={from.model_id} />],
          [words.facts.engine, `${from.engine}, ${from.method}`],
          [words.facts.template, from.template],
          [words.facts.seed, String(from.seed)],
          [words.facts.kind, words.kinds[of.kind]],
          [words.facts.size, bytes(of.size)],
          [words.facts.digest, <Id key="digest" id={of.digest} label={words.facts.digest} />],
          [words.facts.datasetDigest, <Id key="data" id={from.dataset_digest} label={words.facts.datasetDigest} />],
          [words.facts.config, <Id key="config" id={from.config_digest} label={words.facts.config} />],
          from.base_digest !== null && [words.facts.baseDigest, <Id key="base-digest" id={from.base_digest} label={words.facts.baseDigest} />],
        ]}
      />
    </div>
  )
}

function Use({ of }: { of: Detail }) {
  const ways = [
    [words.usePull, `tunix-rt models pull ${exact(of)}`],
    ...(of.kind === 'model' ? [[words.useBase, exact(of)]] : []),
  ] as [string, string][]
  return (
    <Section title={words.use}>
      <ul className="panel ways">
        {ways.map(([what, value]) => (
          <li key={what}>
            <span className="quiet small">{what}</span>
            <span className="row">
              <code className="select">{value}</code>
              <button type="button" className="ghost square" aria-label={`${common.copy}: ${value}`} onClick={() => void copy(value)}>
                <Icon name="copy" size={14} />
              </button>
            </span>
          </li>
        ))}
      </ul>
    </Section>
  )
}

function Evaluations({ of }: { of: Detail }) {
  return (
    <Section title={words.evaluations}>
      {of.evaluations.length === 0 ? (
        <p className="panel quiet">{words.noEvaluations}</p>
      ) : (
        <div className="panel flush scroll-x">
          <table className="plain">
            <thead>
              <tr>
                <th scope="col">{text.columns.evalSet}</th>
                <th scope="col">{text.columns.score}</th>
                <th scope="col" className="wide">
                  {text.columns.scale}
                </th>
                <th scope="col">{words.judge}</th>
              </tr>
            </thead>
            <tbody>
              {of.evaluations.map((each) => (
                <tr key={each.evaluation_id}>
                  <td>{each.eval_set}</td>
                  <td>
                    <Score of={each} />
                    {each.ci && <span className="quiet small num nowrap">{`${percent(each.ci[0])} – ${percent(each.ci[1])}`}</span>}
                    {each.n_contaminated !== null && each.n_contaminated > 0 && <Badge tone="warn">{words.overlap(each.n_contaminated)}</Badge>}
                  </td>
                  <td className="wide">
                    <Range of={each} />
                  </td>
                  <td>{each.judge}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Section>
  )
}

function Files({ of }: { of: Detail }) {
  const at = { name: of.name, version: of.version }
  const act = useAct(() => send('post', '/api/models/{name}/{version}/verify', { at }))
  const found = act.data
  return (
    <Section
      title={words.files}
      beside={
        <button type="button" disabled={act.isPending} onClick={() => act.mutate(undefined)}>
          <Icon name="check" size={16} /> {act.isPending ? words.verifying : words.verify}
        </button>
      }
    >
      <div aria-live="polite">
        {act.error && <ProblemBox problem={act.error} />}
        {found?.ok && (
          <p className="row">
            <Badge tone="good">{words.whole}</Badge> <span className="small">{words.wholeDetail(found.n_files)}</span>
          </p>
        )}
        {found && !found.ok && (
          <div className="problem">
            <p className="problem-title">
              <Icon name="warning" /> {words.damaged(found.damaged.length)}
            </p>
            <ul className="faults">
              {found.damaged.map((each) => (
                <li key={each.path}>
                  <code>{each.path}</code> {each.problem}
                </li>
              ))}
            </ul>
            <p className="hint">{words.damagedHint}</p>
          </div>
        )}
      </div>
      <div className="panel flush scroll-x">
        <table className="plain" aria-label={words.filesOf(exact(of))}>
          <thead>
            <tr>
              <th scope="col">{words.path}</th>
              <th scope="col" className="right">
                {text.columns.size}
              </th>
              <th scope="col" className="wide">
                SHA-256
              </th>
            </tr>
          </thead>
          <tbody>
            {of.files.map((file) => (
              <tr key={file.path}>
                <td>
                  <a href={address('/api/models/{name}/{version}/files/{path}', { at: { ...at, path: file.path } })} download>
                    {file.path}
                  </a>
                </td>
                <td className="right" title={number(file.size)}>
                  {bytes(file.size)}
                </td>
                <td className="wide">
                  <Id id={file.sha256} label="SHA-256" />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  )
}

/** One version: where it comes from, what it is worth, its card and its files. */
export function VersionPart({ family, version }: { family: Schemas['FamilyDetail']; version: string }) {
  const place = usePlace()
  const found = useGet('/api/models/{name}/{version}/manifest', { at: { name: family.name, version } })
  const labels = family.versions.map((each) => each.version)
  const one = found.data
  return (
    <>
      <div className="filters">
        <label className="filter">
          <span>{words.choose}</span>
          <select value={version} onChange={(event) => place.set({ version: event.target.value })}>
            {(labels.includes(version) ? labels : [version, ...labels]).map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      </div>
      <Face loading={found.isPending} problem={found.error} again={() => void found.refetch()} skeleton={<Skeleton lines={8} />}>
        {one && (
          <>
            <About of={one} />
            <Use of={one} />
            <Evaluations of={one} />
            <Section title={words.card}>{one.card === null ? <p className="panel quiet">{words.noCard}</p> : <Card source={one.card} />}</Section>
            <Files of={one} />
          </>
        )}
      </Face>
    </>
  )
}
