import { useEffect, useId, useRef, useState } from 'react'

import { send } from '../../api/client'
import { useAct, useGet } from '../../api/hooks'
import { CopyAs } from '../../parts/copy'
import { Confirm } from '../../parts/Dialog'
import { say } from '../../parts/notices'
import type { Place } from '../../parts/place'
import { ProblemBox } from '../../parts/Problem'
import { shell } from '../../parts/request'
import { traces as text } from '../../text'
import { bodyOf, optionsOf, queryOf } from './filters'

const words = text.setSource
const UNFILTERED: Pick<Place, 'get'> = { get: () => '' }

/** Sets the source of the traces with these ids, or of all that match the filters of a place. */
export function SetSource({ ids, place = UNFILTERED, close }: { ids?: readonly string[]; place?: Pick<Place, 'get'>; close: (source?: string) => void }) {
  const [typed, setTyped] = useState('')
  const id = useId()
  const input = useRef<HTMLInputElement>(null)
  // After the dialog has opened, which focuses its first button.
  useEffect(() => input.current?.focus(), [])
  const options = optionsOf(place)
  const known = useGet('/api/traces/source-counts')
  const matching = useGet('/api/traces/source-counts', { query: queryOf(place) }, { enabled: ids === undefined })
  const count = ids?.length ?? matching.data?.total
  const source = typed.trim()
  const body = { source, ...(ids ? { ids: [...ids] } : { filters: { meta: {}, ...bodyOf(place.get) } }) }
  const act = useAct(
    () => send('post', '/api/traces/set-source', { body }),
    ['/api/traces', '/api/traces/{id}', '/api/traces/source-counts', '/api/datasets/{key}/statistics'],
    (change) => {
      say(words.done(change.changed, change.unchanged))
      close(source)
    },
  )
  const ready = source !== '' && !act.isPending && !!count
  const concerned = ids ? words.ofChosen : options.length > 0 ? words.ofFilter : words.ofAll
  return (
    <Confirm
      title={words.title}
      action={words.do(count)}
      busy={!ready}
      problem={(act.error ?? matching.error) && <ProblemBox problem={act.error ?? matching.error} />}
      act={() => act.mutate(undefined)}
      close={() => close()}
    >
      <p>{count === undefined ? words.counting : concerned(count)}</p>
      <label className="field">
        <span>{words.source}</span>
        <input
          ref={input}
          value={typed}
          maxLength={200}
          list={id}
          autoComplete="off"
          aria-describedby={`${id}hint`}
          onChange={(event) => setTyped(event.target.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && ready) act.mutate(undefined)
          }}
        />
      </label>
      <datalist id={id}>
        {known.data?.data.map((each) => each.source !== null && <option key={each.source} value={each.source} />)}
      </datalist>
      <p id={`${id}hint`} className="quiet small">
        {words.hint}
      </p>
      <CopyAs
        command={shell('tunix-rt', 'traces', 'set-source', source || 'SOURCE', ...(ids ?? (options.length > 0 ? options : ['--all'])))}
        request={{ method: 'POST', address: '/api/traces/set-source', body }}
      />
    </Confirm>
  )
}
