/* The inline functions of DPDK that are called once a burst, as functions that Rust can link to.
 *
 * A call costs 2 to 3 ns: nothing for a burst, too much for a packet. So nothing that is done per
 * packet belongs here; see forwarder/src/dpdk/mbuf.rs for that. */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

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

/* Whether the device interrupts when its link changes. */
int guideway_link_interrupt(uint16_t port)
{
	struct rte_eth_dev_info info;

	return rte_eth_dev_info_get(port, &info) == 0 && info.dev_flags != NULL &&
	       (*info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0;
}

/* Called by DPDK's interrupt thread. */
static int link_changed(uint16_t port, enum rte_eth_event_type event, void *fd, void *unused)
{
	uint64_t one = 1;

	(void)port;
	(void)event;
	(void)unused;
	/* An event descriptor refuses only when it has not been read 2^64 times. */
	return write((int)(intptr_t)fd, &one, sizeof(one)) < 0 ? -errno : 0;
}

/* Has each change of the link written to an event descriptor, or no more. */
int guideway_link_watch(uint16_t port, int fd, int watch)
{
	void *argument = (void *)(intptr_t)fd;

	return watch ? rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_LSC, link_changed, argument) :
		       rte_eth_dev_callback_unregister(port, RTE_ETH_EVENT_INTR_LSC, link_changed, argument);
}

/* Calls a function of DPDK while EAL logs no errors. */
static int without_eal_errors(int (*call)(uint16_t port), uint16_t port)
{
	int level = rte_log_get_level(RTE_LOGTYPE_EAL);
	int result;

	rte_log_set_level(RTE_LOGTYPE_EAL, RTE_LOG_CRIT);
	result = call(port);
	if (level >= 0)
		rte_log_set_level(RTE_LOGTYPE_EAL, level);
	return result;
}

/* Starts a port. With `hide_errors`, EAL logs no errors meanwhile. */
int guideway_start(uint16_t port, int hide_errors)
{
	return hide_errors ? without_eal_errors(rte_eth_dev_start, port) : rte_eth_dev_start(port);
}

/* Closes a port. With `hide_errors`, EAL logs no errors meanwhile. */
int guideway_close(uint16_t port, int hide_errors)
{
	return hide_errors ? without_eal_errors(rte_eth_dev_close, port) : rte_eth_dev_close(port);
}

static void free_zone(struct rte_mempool_memhdr *piece, void *zone)
{
	(void)piece;
	rte_memzone_free(zone);
}

/* A pool as rte_pktmbuf_pool_create makes it, but each object, with mempool's header, fills a page, and all lie
 * one behind the other in one memzone. `priv` is the size of each mbuf's
 * private area, `room` the least that its buffer must have; answers null and sets rte_errno to E2BIG where
 * a page has less. */
struct rte_mempool *guideway_page_pool(const char *name, unsigned int count, unsigned int cache,
				       uint16_t priv, uint16_t room, int socket)
{
	struct rte_pktmbuf_pool_private sizes = { .mbuf_priv_size = priv };
	struct rte_mempool_objsz object;
	const struct rte_memzone *zone;
	struct rte_mempool *pool;
	char zone_name[RTE_MEMZONE_NAMESIZE];
	long page = sysconf(_SC_PAGESIZE);
	size_t length = (size_t)count * page;
	uint32_t head;
	int result;

	rte_mempool_calc_obj_size(sizeof(struct rte_mbuf), RTE_MEMPOOL_F_NO_SPREAD, &object);
	head = object.header_size + object.trailer_size + sizeof(struct rte_mbuf) + priv;
	if (page < (long)head + room) {
		rte_errno = E2BIG;
		return NULL;
	}
	/* A data room is 16 bits: larger pages hold several objects instead, as large as that. */
	while (page - head > UINT16_MAX)
		page /= 2;
	sizes.mbuf_data_room_size = page - head;

	pool = rte_mempool_create_empty(name, count, sizeof(struct rte_mbuf) + priv + page - head, cache,
					sizeof(sizes), socket, RTE_MEMPOOL_F_NO_SPREAD);
	if (pool == NULL)
		return NULL;
	result = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (result == 0) {
		rte_pktmbuf_pool_init(pool, &sizes);
		snprintf(zone_name, sizeof(zone_name), "PG_%s", name);
		zone = rte_memzone_reserve_aligned(zone_name, length, socket, 0, sysconf(_SC_PAGESIZE));
		result = zone == NULL ? -rte_errno :
			rte_mempool_populate_virt(pool, zone->addr, length, sysconf(_SC_PAGESIZE),
						  free_zone, (void *)(uintptr_t)zone);
		if (zone != NULL && result < 0)
			rte_memzone_free(zone);
	}
	if (result < 0) {
		rte_mempool_free(pool);
		rte_errno = -result;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct piece {
	uintptr_t start, end, page, size;
	uint32_t outside;
};

static void count_outside(struct rte_mempool *pool, void *argument, void *object, unsigned int index)
{
	struct piece *piece = argument;
	uintptr_t start = (uintptr_t)object - pool->header_size;
	uintptr_t end = start + piece->size;

	(void)index;
	if (start < piece->start || end > piece->end || start / piece->page != (end - 1) / piece->page)
		piece->outside++;
}

/* How many objects a driver loses that takes the pool for one piece, from its first page on and as long as
 * all objects together (net_af_xdp does), or whose kernel side takes no object that crosses a page. */
uint32_t guideway_pool_outside(struct rte_mempool *pool)
{
	const struct rte_mempool_memhdr *first = STAILQ_FIRST(&pool->mem_list);
	struct piece piece = { .page = sysconf(_SC_PAGESIZE) };

	if (first == NULL)
		return pool->size;
	piece.size = rte_mempool_calc_obj_size(pool->elt_size, pool->flags, NULL);
	piece.start = (uintptr_t)first->addr & ~(piece.page - 1);
	piece.end = (uintptr_t)first->addr + pool->populated_size * piece.size;
	rte_mempool_obj_iter(pool, count_outside, &piece);
	return piece.outside;
}

/* The bytes of a buffer, headroom included. */
uint16_t guideway_pool_room(struct rte_mempool *pool)
{
	return rte_pktmbuf_data_room_size(pool);
}
