import { Link } from 'wouter'

import { Page } from '../../parts/Page'
import { Tabs } from '../../parts/Tabs'
import { traces as text } from '../../text'
import { Generate } from './Generate'
import { Import } from './Import'
import './traces.css'

export default function AddTraces() {
  return (
    <Page title={text.add} above={<Link href="/traces">{text.title}</Link>}>
      <Tabs
        label={text.add}
        tabs={[
          { id: 'import', name: text.import.tab, content: () => <Import /> },
          { id: 'generate', name: text.generate.tab, content: () => <Generate /> },
        ]}
      />
    </Page>
  )
}
