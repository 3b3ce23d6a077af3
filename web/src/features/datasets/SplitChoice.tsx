import type { Schemas } from '../../api/client'
import { usePlace } from '../../parts/place'
import { datasets as text } from '../../text'

/** Which split is looked at: in the address, for every part of the page. */
export function SplitChoice({ manifest }: { manifest: Schemas['Manifest'] }) {
  const place = usePlace()
  return (
    <label className="filter">
      <span>{text.split}</span>
      <select value={place.get('split')} onChange={(event) => place.set({ split: event.target.value })}>
        <option value="">{text.all}</option>
        {Object.keys(manifest.splits).map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  )
}
