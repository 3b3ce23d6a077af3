import { useEffect, useId, useMemo, useRef, useState } from 'react'
import { Link } from 'wouter'

import { Problem, send, type Schemas } from '../../api/client'
import { useAct } from '../../api/hooks'
import { pages } from '../../pages'
import { Badge } from '../../parts/Badge'
import { CopyAs } from '../../parts/copy'
import { bytes, number } from '../../parts/format'
import { Icon } from '../../parts/Icon'
import { Section } from '../../parts/Page'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { traces as text } from '../../text'
import { takeDropped } from './dropped'
import { badLines, linesOf, type Bad } from './lines'
import { NO_SOURCE, ofSource, sourceOfFile } from './sources'

type Report = Schemas['ImportReport']
const said = text.import
const FORMATS = ['trace', 'gsm8k', 'messages', 'prompt-completion', 'stepwise']

/** The bad lines stand in a table of their own. */
function without(problem: Problem): Problem {
  const { status, title, detail, hint, requestId, code } = problem
  return new Problem({ status, title, detail, hint, request_id: requestId, code })
}

function Drop({ take }: { take: (file: File) => void }) {
  const [over, setOver] = useState(false)
  const input = useRef<HTMLInputElement>(null)
  return (
    // A place to drop on; the button inside does the same for the keyboard.
    <div
      className={over ? 'drop over' : 'drop'}
      onDragOver={(event) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault()
        setOver(false)
        const file = event.dataTransfer.files[0]
        if (file) take(file)
      }}
    >
      <Icon name="download" size={28} />
      <p className="drop-title">{said.drop}</p>
      <p className="quiet small">{said.or}</p>
      <button type="button" className="primary" onClick={() => input.current?.click()}>
        {said.choose}
      </button>
      <input
        ref={input}
        type="file"
        accept=".jsonl,.ndjson,.json,application/x-ndjson"
        hidden
        aria-label={said.choose}
        onChange={(event) => {
          const file = event.target.files?.[0]
          if (file) take(file)
          event.target.value = ''
        }}
      />
      <p className="quiet small">{said.hint}</p>
    </div>
  )
}

/** What became of the lines, as parts of one bar with their counts beside it. */
function Account({ report }: { report: Report }) {
  const parts = [
    ['created', report.created],
    ['present', report.already_present],
    ['rejected', report.rejected_count],
    ['blank', report.blank],
  ] as const
  return (
    <div className="stack tight">
      <div className="account" role="img" aria-label={parts.map(([name, count]) => `${said[name]} ${number(count)}`).join(', ')}>
        {parts.map(([name, count]) => count > 0 && <span key={name} className={`account-part ${name}`} style={{ flexGrow: count }} />)}
      </div>
      <p className="row">
        {parts.map(([name, count]) => (
          <span key={name} className={count === 0 ? 'quiet' : undefined}>
            <span className={`swatch account-part ${name}`} aria-hidden="true" /> {number(count)} {said[name]}
          </span>
        ))}
        <span className="quiet">
          = {number(report.lines)} {said.lines}
          {report.format && ` · ${report.format}`}
        </span>
      </p>
    </div>
  )
}

function Rejected({ rejected, count, file }: { rejected: readonly Bad[]; count: number; file: Blob }) {
  const [lines, setLines] = useState<Map<number, string>>()
  useEffect(() => {
    let on = true
    void linesOf(
      file,
      rejected.map((each) => each.line),
    ).then((found) => {
      if (on) setLines(found)
    })
    return () => {
      on = false
    }
  }, [file, rejected])
  return (
    <Section
      title={said.rejectedTitle}
      beside={count > rejected.length && <span className="quiet small">{said.rejectedFirst(rejected.length, count)}</span>}
    >
      <div className="table-box">
        <div className="table-scroll" role="region" aria-label={said.rejectedTable} tabIndex={0}>
          <table className="plain">
            <thead>
              <tr>
                <th scope="col" className="right">
                  {said.line}
                </th>
                <th scope="col">{said.reason}</th>
                <th scope="col">{said.text}</th>
              </tr>
            </thead>
            <tbody>
              {rejected.map((each) => (
                <tr key={each.line}>
                  <td className="right">{number(each.line)}</td>
                  <td>
                    <Badge tone="bad">{said.rejected}</Badge> {each.reason}
                  </td>
                  <td>
                    <code className="rejected-text">{lines?.get(each.line) ?? '…'}</code>
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </Section>
  )
}

export function Import() {
  const [file, setFile] = useState<File | null>(takeDropped)
  const [format, setFormat] = useState('')
  const [typed, setTyped] = useState<string | null>(null)
  const [skip, setSkip] = useState(false)
  const hint = useId()
  const suggested = file ? sourceOfFile(file.name) : ''
  // Until somebody edits it, the file's name is the source only of lines whose meta names none.
  const source = typed === null ? null : typed.trim() || NO_SOURCE
  const sourceHint = source === NO_SOURCE ? 'none' : source !== null ? 'own' : suggested === '' ? 'lines' : 'file'
  const act = useAct(
    (given: { file: File; skip: boolean }) =>
      send('post', '/api/traces/import', {
        query: { format, source, default_source: source === null ? suggested : null, on_error: given.skip ? 'skip' : 'stop' },
        upload: given.file,
        headers: { 'content-type': 'application/x-ndjson' },
      }),
    ['/api/traces', '/api/traces/source-counts'],
  )
  const report = act.data
  const start = (anyway: boolean) => {
    if (!file) return
    setSkip(anyway)
    act.mutate({ file, skip: anyway })
  }
  const take = (given: File) => {
    act.reset()
    setTyped(null)
    setFile(given)
  }
  const stopped = useMemo(() => (act.error ? badLines(act.error) : null), [act.error])
  return (
    <div className="stack">
      {!file && <Drop take={take} />}
      {file && (
        <div className="panel stack">
          <p className="row">
            <Icon name="traces" /> <strong>{said.file(file.name, bytes(file.size))}</strong>
            <button
              type="button"
              className="ghost"
              onClick={() => {
                setFile(null)
                act.reset()
              }}
            >
              {said.other}
            </button>
          </p>
          <div className="filters">
            <label className="filter">
              <span>{said.format}</span>
              <select value={format} onChange={(event) => setFormat(event.target.value)}>
                <option value="">{said.formatAuto}</option>
                {FORMATS.map((each) => (
                  <option key={each}>{each}</option>
                ))}
              </select>
            </label>
            <label className="filter">
              <span>{said.source}</span>
              <input
                value={typed ?? suggested}
                maxLength={200}
                placeholder={text.noSource}
                aria-describedby={hint}
                onChange={(event) => setTyped(event.target.value)}
              />
            </label>
            <label className="filter">
              <span>{said.bad}</span>
              <select value={skip ? 'skip' : 'stop'} onChange={(event) => setSkip(event.target.value === 'skip')}>
                <option value="stop">{said.stop}</option>
                <option value="skip">{said.skip}</option>
              </select>
            </label>
            <button type="button" className="primary" disabled={act.isPending} onClick={() => start(skip)}>
              {act.isPending ? said.busy : said.do}
            </button>
            <CopyAs
              command={shell(
                'tunix-rt', 'traces', 'import', file.name,
                ...(format ? ['--format', format] : []),
                ...(source === null ? [] : ['--source', source]),
                ...(skip ? ['--on-error', 'skip'] : []),
              )}
            />
          </div>
          <p id={hint} className="quiet small">
            {said.sourceHint[sourceHint]}
          </p>
        </div>
      )}
      {act.error && <ProblemBox problem={stopped ? without(act.error) : act.error} />}
      {stopped && file && (
        <>
          <p className="actions">
            <button type="button" disabled={act.isPending} onClick={() => start(true)}>
              {said.again}
            </button>
          </p>
          <Rejected rejected={stopped} count={stopped.length} file={file} />
        </>
      )}
      {report && file && (
        <>
          <Section title={said.done}>
            <div className="panel stack" role="status">
              <Account report={report} />
              {report.created + report.already_present > 0 && (
                <p>
                  {report.source === null ? said.sourcesDiffer : said.sourceIs(report.source)}
                  {report.source_set > 0 && `; ${said.sourceSet(report.source_set)}`}
                </p>
              )}
              {report.created + report.already_present > 0 && (
                <p className="actions">
                  <Link className="button" href={ofSource('/traces', report.source)}>
                    {said.see}
                  </Link>
                  {pages.some((page) => page.path === '/datasets/new') && (
                    <Link className="button primary" href={ofSource('/datasets/new', report.source)}>
                      {said.build}
                    </Link>
                  )}
                </p>
              )}
            </div>
          </Section>
          {report.rejected.length > 0 && <Rejected rejected={report.rejected} count={report.rejected_count} file={file} />}
        </>
      )}
    </div>
  )
}
