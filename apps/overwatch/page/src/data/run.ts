import { computed, onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { address } from './address'
import { FrameClient, type Connection } from './frames'
import { emptyView, withFrame, type RunView } from './view'

export interface OpenRun {
  view: ShallowRef<RunView>
  connection: Ref<Connection>
  error: Ref<string | null>
  paused: Ref<boolean>
  retryNow: () => void
}

/** Follows the run of the address, with the panels of the open tab and the selected host. */
export function useRun(): OpenRun {
  const view = shallowRef(emptyView())
  const connection = ref<Connection>({ state: 'connecting' })
  const error = ref<string | null>(null)
  const paused = ref(false)
  const stopped = ref<number | null>(null)
  const at = computed(() => address.at ?? stopped.value)
  let asked = ''

  const client = new FrameClient(
    () => {
      const name = viewName()
      const key = `${name} ${String(at.value)}`
      const known = key === asked
      asked = key
      return {
        run: address.run,
        view: name,
        from: known ? view.value.to : -1,
        stream: known ? view.value.stream : null,
        at: at.value,
      }
    },
    {
      onFrame: (frame) => {
        if (frame.run !== address.run || frame.view !== viewName()) return
        error.value = null
        view.value = withFrame(view.value, frame)
      },
      onError: (text) => {
        error.value = text
      },
      onConnection: (now) => {
        connection.value = now
      },
    },
  )
  watch([() => address.run, viewName, at], () => {
    client.ask()
  })
  // A paused view goes on asking for the moment that it shows: the answer counts what is held back.
  watch(paused, (now) => {
    stopped.value = now ? view.value.to : null
  })
  client.open()
  onScopeDispose(() => {
    client.close()
  })
  return {
    view,
    connection,
    error,
    paused,
    retryNow: () => {
      client.retryNow()
    },
  }
}

function viewName(): string {
  return address.tab === 'hosts' ? `run,host/${String(address.host)}` : `run,${address.tab}`
}
