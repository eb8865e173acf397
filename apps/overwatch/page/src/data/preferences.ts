import { computed, reactive, ref, watch } from 'vue'

export const THEMES = ['system', 'dark', 'light', 'contrast'] as const
export type Theme = (typeof THEMES)[number]

interface Preferences {
  theme: Theme
  pinned: string[]
}

export const MOST_PINNED = 8

const KEY = 'overwatch'

function load(): Preferences {
  const preferences: Preferences = { theme: 'system', pinned: [] }
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Preferences>
    const theme = THEMES.find((name) => name === stored.theme)
    if (theme !== undefined) preferences.theme = theme
    if (Array.isArray(stored.pinned)) {
      preferences.pinned = stored.pinned.filter((run) => typeof run === 'string')
    }
  } catch {
    // Storage may be forbidden or hold something else: the defaults do.
  }
  return preferences
}

export const preferences = reactive(load())

watch(preferences, (now) => {
  try {
    localStorage.setItem(KEY, JSON.stringify(now))
  } catch {
    // Storage may be forbidden.
  }
})

const light = matchMedia('(prefers-color-scheme: light)')
const contrast = matchMedia('(prefers-contrast: more)')
const system = ref(systemTheme())
for (const query of [light, contrast]) {
  query.addEventListener('change', () => {
    system.value = systemTheme()
  })
}

/** The theme that is shown: the one that was chosen, or that of the system. */
export const shownTheme = computed(() =>
  preferences.theme === 'system' ? system.value : preferences.theme,
)

watch(
  shownTheme,
  (theme) => {
    document.documentElement.dataset['theme'] = theme
  },
  { immediate: true },
)

function systemTheme(): Exclude<Theme, 'system'> {
  if (contrast.matches) return 'contrast'
  return light.matches ? 'light' : 'dark'
}

export function nextTheme(): void {
  const index = THEMES.indexOf(preferences.theme)
  preferences.theme = THEMES[(index + 1) % THEMES.length] ?? 'system'
}

/** Pins a run for comparison, or takes the pin away; at most `MOST_PINNED`. */
export function togglePin(run: string): void {
  const index = preferences.pinned.indexOf(run)
  if (index >= 0) preferences.pinned.splice(index, 1)
  else if (preferences.pinned.length < MOST_PINNED) preferences.pinned.push(run)
}
