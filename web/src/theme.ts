/** Light, dark, or as the system is; the choice is kept by the browser (see public/theme.js). */
export type Theme = 'system' | 'light' | 'dark'

export function chosenTheme(): Theme {
  const set = document.documentElement.dataset['theme']
  return set === 'light' || set === 'dark' ? set : 'system'
}

export function chooseTheme(theme: Theme): void {
  if (theme === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
  try {
    if (theme === 'system') localStorage.removeItem('theme')
    else localStorage.setItem('theme', theme)
  } catch {
    // Kept for this visit only.
  }
  window.dispatchEvent(new Event('theme'))
}
