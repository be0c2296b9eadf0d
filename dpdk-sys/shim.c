/* The inline functions of DPDK that are called once a burst, as functions that Rust can link to.
 *
 * A call costs 2 to 3 ns: nothing for a burst, too much for a packet. So nothing that is done per
 * packet belongs here; see forwarder/src/dpdk/mbuf.rs for that. */

#include "wrapper.h"

int guideway_errno(void)
{
	return rte_errno;
}

uint64_t guideway_tsc(void)
{
	return rte_rdtsc();
}

uint16_t guideway_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t guideway_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

/* All or none: 0, or a negative errno and nothing written that may be used. */
int guideway_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

uint16_t guideway_ring_enqueue(struct rte_ring *ring, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_ring_sp_enqueue_burst(ring, (void *const *)mbufs, count, NULL);
}

uint16_t guideway_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_ring_sc_dequeue_burst(ring, (void **)mbufs, count, NULL);
}

unsigned int guideway_ring_free_count(const struct rte_ring *ring)
{
	return rte_ring_free_count(ring);
}

unsigned int guideway_ring_count(const struct rte_ring *ring)
{
	return rte_ring_count(ring);
}

/* Adds the receive interrupt of a queue to those that the calling thread waits for, or removes it. */
int guideway_rx_interrupt(uint16_t port, uint16_t queue, int add)
{
	return rte_eth_dev_rx_intr_ctl_q(port, queue, RTE_EPOLL_PER_THREAD,
					 add ? RTE_INTR_EVENT_ADD : RTE_INTR_EVENT_DEL, NULL);
}

/* Waits for an interrupt that the calling thread has added, so long at the most. Answers how many came, or
 * a negative number. */
int guideway_wait(int milliseconds)
{
	struct rte_epoll_event events[8];

	return rte_epoll_wait(RTE_EPOLL_PER_THREAD, events, 8, milliseconds);
}

int guideway_link_get(uint16_t port, struct guideway_link *link)
{
	struct rte_eth_link raw;
	int result = rte_eth_link_get_nowait(port, &raw);

	if (result != 0)
		return result;
	link->speed_mbps = raw.link_speed;
	link->up = raw.link_status == RTE_ETH_LINK_UP;
	link->full_duplex = raw.link_duplex == RTE_ETH_LINK_FULL_DUPLEX;
	return 0;
}
