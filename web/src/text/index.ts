/** Every string of the app, in one place: a file for each slice beside what all share. */
export * from './common'
export * from './datasets'
export * from './evaluation'
export * from './home'
export * from './models'
export * from './runs'
export * from './system'
export * from './traces'
