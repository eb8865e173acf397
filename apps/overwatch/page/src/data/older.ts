import { computed, ref, shallowRef, watch, type ComputedRef, type Ref } from 'vue'
import type { LogLine } from '../types'
import { address } from './address'
import { ApiError, olderLines } from './api'

export interface OlderLog {
  /** All lines that are known, the oldest first. */
  lines: ComputedRef<LogLine[]>
  /** Number of older lines; null before the first were asked for. */
  older: Ref<number | null>
  /** Share of the log that was read for them, null while none are asked for. */
  reading: Ref<number | null>
  error: Ref<string | null>
  more: () => Promise<void>
}

/** The lines of a panel, and older ones once they are asked for. */
export function useOlderLog(panel: () => readonly LogLine[], last: () => number): OlderLog {
  const fetched = shallowRef<LogLine[]>([])
  const older = ref<number | null>(null)
  const reading = ref<number | null>(null)
  const error = ref<string | null>(null)

  const lines = computed(() => {
    const found = new Map(fetched.value.map((line) => [line.sequence, line]))
    for (const line of panel()) found.set(line.sequence, line)
    return [...found.values()]
      .filter((line) => line.sequence <= last())
      .sort((a, b) => a.sequence - b.sequence)
  })

  async function more(): Promise<void> {
    const run = address.run
    reading.value = 0
    error.value = null
    try {
      const before = fetched.value[0]?.sequence ?? null
      let page = await olderLines(run, before)
      while (page.read < 1 && run === address.run) {
        reading.value = page.read
        page = await olderLines(run, before)
      }
      if (run !== address.run) return
      fetched.value = [...page.lines, ...fetched.value]
      older.value = page.older
    } catch (failure) {
      error.value = failure instanceof ApiError ? failure.message : String(failure)
    } finally {
      reading.value = null
    }
  }

  watch(
    () => address.run,
    () => {
      fetched.value = []
      older.value = null
    },
  )
  return { lines, older, reading, error, more }
}
