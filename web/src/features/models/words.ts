/** What several pages of the registry say of the same things. */
import type { Schemas } from '../../api/client'

export type Family = Schemas['FamilyView']
export type Version = Schemas['VersionView']
export type Figure = Schemas['Figure']

/** What is asked again when something of the registry changes. */
export const CHANGES = ['/api/models', '/api/models/{name}', '/api/models/{name}/versions', '/api/models/{name}/history', '/api/models/{name}/{version}/manifest']

export const pathOf = (name: string): string => `/models/${encodeURIComponent(name)}`

export const exact = (version: Pick<Version, 'name' | 'version'>): string => `${version.name}:${version.version}`

export const zipOf = (version: Pick<Version, 'name' | 'version'>): string =>
  `/api/models/${encodeURIComponent(version.name)}/${encodeURIComponent(version.version)}/download`

/** Names of models, versions and aliases; the server says it again. */
export const NAME = '[a-z0-9][a-z0-9._\\-]*'
