/* Functions that Rust can link to, for inline functions of DPDK that are called once a burst or less.
 *
 * A call costs 2 to 3 ns: little for a burst, too much for a packet. So no work on single packets
 * belongs here; forwarder/src/dpdk/mbuf.rs has that. */

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
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

/* Allocates all mbufs or none. Returns 0, or a negative errno; then `mbufs` must not be used. */
int guideway_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

/* The slots of a ring lie behind its struct: mbufs, and behind these the notes. */
static char *ring_slots(struct rte_ring *ring)
{
	return (char *)&ring[1];
}

static char *ring_notes(struct rte_ring *ring)
{
	return ring_slots(ring) + ring->size * sizeof(struct rte_mbuf *);
}

/* Copies `count` things of this size to the places from `at` on, of which there are as many as the ring has slots. */
static void copy_in(struct rte_ring *ring, char *places, uint32_t at, const void *things, uint32_t count, size_t size)
{
	uint32_t straight = RTE_MIN(count, ring->size - at);

	memcpy(places + at * size, things, straight * size);
	if (straight < count)
		memcpy(places, (const char *)things + straight * size, (count - straight) * size);
}

static void copy_out(struct rte_ring *ring, const char *places, uint32_t at, void *things, uint32_t count, size_t size)
{
	uint32_t straight = RTE_MIN(count, ring->size - at);

	memcpy(things, places + at * size, straight * size);
	if (straight < count)
		memcpy((char *)things + straight * size, places, (count - straight) * size);
}

/* Appends mbufs to a ring with one producer, as many as there is room for, and returns how many. `notes` are as many
 * notes, of `note_size` bytes each. `room` is what the producer knows of the room, at first 0. Only if that is too
 * little does it read how far the consumer is, which stands on a cache line that the consumer writes. */
uint16_t guideway_ring_enqueue(struct rte_ring *ring, struct rte_mbuf **mbufs, const void *notes, size_t note_size,
			       uint16_t count, uint32_t *room)
{
	uint32_t head = ring->prod.head, at = head & ring->mask;

	if (*room < count)
		*room = ring->capacity + __atomic_load_n(&ring->cons.tail, __ATOMIC_ACQUIRE) - head;
	if (*room < count)
		count = *room;
	if (count == 0)
		return 0;
	copy_in(ring, ring_slots(ring), at, mbufs, count, sizeof(*mbufs));
	if (note_size != 0)
		copy_in(ring, ring_notes(ring), at, notes, count, note_size);
	*room -= count;
	ring->prod.head = head + count;
	__atomic_store_n(&ring->prod.tail, head + count, __ATOMIC_RELEASE);
	return count;
}

/* Asks the CPU to take a cache line from the CPU that wrote it last, without waiting for it. An x86 CPU without the
 * instruction does nothing. */
static void take_line(const char *line)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*line));
#else
	__builtin_prefetch(line, 1);
#endif
}

/* Asks for the lines of `count` notes from the place `at` on, as far as the end of the places. */
static void load_notes(struct rte_ring *ring, uint32_t at, uint32_t count, size_t size)
{
	const char *from = ring_notes(ring) + at * size;
	const char *to = ring_notes(ring) + RTE_MIN(at + count, ring->size) * size;

	for (; from < to; from += RTE_CACHE_LINE_SIZE)
		__builtin_prefetch(from);
}

/* Takes up to `count` mbufs from a ring with one consumer, with their notes, and returns how many. `seen` is what the
 * consumer knows, at first zeros. Only if too few mbufs wait by what it knows does it read how far the producer is.
 *
 * The producer's CPU wrote the mbufs and read their frames, and the consumer will write both. So the lines of these
 * mbufs and of the next `count` are asked for at once; the next ones are then there when it is their turn. `frame`
 * is how far behind an mbuf a device puts its frame. */
uint16_t guideway_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **mbufs, void *notes, size_t note_size,
			       uint16_t count, struct guideway_ring_seen *seen, uint32_t frame)
{
	uint32_t head = ring->cons.head, at = head & ring->mask, wanted, i;
	char **slots = (char **)ring_slots(ring);

	if (seen->ready < 2U * count)
		seen->ready = __atomic_load_n(&ring->prod.tail, __ATOMIC_ACQUIRE) - head;
	wanted = RTE_MIN(seen->ready, 2U * count);
	count = RTE_MIN(seen->ready, (uint32_t)count);
	if (count == 0)
		return 0;
	for (i = seen->fetched; i < wanted; i++) {
		const char *mbuf = slots[(head + i) & ring->mask];

		take_line(mbuf);
		/* Read when the mbuf is freed. */
		__builtin_prefetch(mbuf + RTE_CACHE_LINE_SIZE);
		take_line(mbuf + frame);
		/* The outer headers are written before the frame. */
		take_line(mbuf + frame - RTE_CACHE_LINE_SIZE);
	}
	copy_out(ring, ring_slots(ring), at, mbufs, count, sizeof(*mbufs));
	if (note_size != 0)
		copy_out(ring, ring_notes(ring), at, notes, count, note_size);
	if (note_size != 0 && wanted > count)
		load_notes(ring, (head + count) & ring->mask, count, note_size);
	seen->ready -= count;
	seen->fetched = wanted - count;
	ring->cons.head = head + count;
	__atomic_store_n(&ring->cons.tail, head + count, __ATOMIC_RELEASE);
	return count;
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

/* Waits for interrupts that the calling thread has added, for at most so many milliseconds. Returns how
 * many came, or a negative number. */
int guideway_wait(int milliseconds)
{
	struct rte_epoll_event events[8];

	return rte_epoll_wait(RTE_EPOLL_PER_THREAD, events, 8, milliseconds);
}

/* Makes a write to an event descriptor end the calling thread's wait. Returns what DPDK keeps of it, for
 * guideway_wake_remove, or NULL. */
struct rte_epoll_event *guideway_wake_add(int fd)
{
	struct rte_epoll_event *event = calloc(1, sizeof(*event));

	if (event == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	/* With an edge each write counts, so that nobody need read the descriptor. */
	event->epdata.event = EPOLLIN | EPOLLET;
	if (rte_epoll_ctl(RTE_EPOLL_PER_THREAD, EPOLL_CTL_ADD, fd, event) != 0) {
		rte_errno = errno;
		free(event);
		return NULL;
	}
	return event;
}

/* Undoes guideway_wake_add, on the same thread. */
void guideway_wake_remove(int fd, struct rte_epoll_event *event)
{
	(void)rte_epoll_ctl(RTE_EPOLL_PER_THREAD, EPOLL_CTL_DEL, fd, event);
	free(event);
}

/* Makes a device put the packets of a control rule into a receive queue, or, unless `create`, asks whether it
 * would. The rule lasts until the port is stopped or closed. Returns 0 or a negative errno. */
int guideway_control_queue(uint16_t port, uint16_t queue, uint32_t rule, int create)
{
	/* Ports of RFC 4271, RFC 5881 and RFC 5883. */
	static const struct {
		uint8_t protocol;
		uint16_t from, to;
	} of[] = {
		{ 0, 0, 0 }, { IPPROTO_TCP, 0, 179 }, { IPPROTO_TCP, 179, 0 },
		{ IPPROTO_UDP, 0, 3784 }, { IPPROTO_UDP, 0, 4784 },
	};
	uint32_t kind = rule >= GUIDEWAY_CONTROL_BGP_TO_V6 ? rule - GUIDEWAY_CONTROL_BFD_MULTIHOP_V4 : rule;
	int v6 = rule >= GUIDEWAY_CONTROL_BGP_TO_V6;
	struct rte_flow_item_eth arp = { .hdr.ether_type = RTE_BE16(RTE_ETHER_TYPE_ARP) };
	struct rte_flow_item_eth ethertype = { .hdr.ether_type = RTE_BE16(0xffff) };
	struct rte_flow_item_ipv4 ip4 = { 0 }, ip4_mask = { .hdr.next_proto_id = 0xff };
	struct rte_flow_item_ipv6 ip6 = { 0 }, ip6_mask = { .hdr.proto = 0xff };
	struct rte_flow_item_tcp tcp = { 0 }, tcp_mask = { 0 };
	struct rte_flow_item_udp udp = { 0 }, udp_mask = { 0 };
	struct rte_flow_item pattern[4] = { { .type = RTE_FLOW_ITEM_TYPE_ETH } };
	struct rte_flow_action_queue to = { .index = queue };
	struct rte_flow_action actions[2] = {
		{ .type = RTE_FLOW_ACTION_TYPE_QUEUE, .conf = &to },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};
	struct rte_flow_attr attributes = { .ingress = 1 };
	struct rte_flow_error error;

	if (rule >= GUIDEWAY_CONTROL_RULES)
		return -EINVAL;
	pattern[1].type = pattern[2].type = pattern[3].type = RTE_FLOW_ITEM_TYPE_END;
	if (rule == GUIDEWAY_CONTROL_ARP) {
		pattern[0].spec = &arp;
		pattern[0].mask = &ethertype;
	} else {
		ip4.hdr.next_proto_id = ip6.hdr.proto = of[kind].protocol;
		tcp.hdr.src_port = udp.hdr.src_port = rte_cpu_to_be_16(of[kind].from);
		tcp.hdr.dst_port = udp.hdr.dst_port = rte_cpu_to_be_16(of[kind].to);
		tcp_mask.hdr.src_port = udp_mask.hdr.src_port = of[kind].from ? 0xffff : 0;
		tcp_mask.hdr.dst_port = udp_mask.hdr.dst_port = of[kind].to ? 0xffff : 0;
		pattern[1] = v6 ? (struct rte_flow_item){ RTE_FLOW_ITEM_TYPE_IPV6, &ip6, NULL, &ip6_mask } :
				  (struct rte_flow_item){ RTE_FLOW_ITEM_TYPE_IPV4, &ip4, NULL, &ip4_mask };
		pattern[2] = of[kind].protocol == IPPROTO_TCP ?
			(struct rte_flow_item){ RTE_FLOW_ITEM_TYPE_TCP, &tcp, NULL, &tcp_mask } :
			(struct rte_flow_item){ RTE_FLOW_ITEM_TYPE_UDP, &udp, NULL, &udp_mask };
	}
	if (!create)
		return rte_flow_validate(port, &attributes, pattern, actions, &error);
	return rte_flow_create(port, &attributes, pattern, actions, &error) == NULL ? -rte_errno : 0;
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

/* Returns whether the device can interrupt when its link changes. */
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
	/* An event descriptor refuses a write only after 2^64 writes without a read. */
	return write((int)(intptr_t)fd, &one, sizeof(one)) < 0 ? -errno : 0;
}

/* Starts or ends writing each change of the link to an event descriptor. */
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

static void free_zone(struct rte_mempool_memhdr *memory, void *zone)
{
	(void)memory;
	rte_memzone_free(zone);
}

/* Makes a pool as rte_pktmbuf_pool_create does, but each object, with mempool's header, fills a page, and all
 * lie one behind the other in one memzone. `priv` is the size of each mbuf's private area, `room` the least
 * size of its buffer. Returns null and sets rte_errno to E2BIG if a page has no room for that. */
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
	/* The size of a data room has 16 bits, so larger pages hold several objects. */
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

struct region {
	uintptr_t start, end, page, size;
	uint32_t outside;
};

static void count_outside(struct rte_mempool *pool, void *argument, void *object, unsigned int index)
{
	struct region *region = argument;
	uintptr_t start = (uintptr_t)object - pool->header_size;
	uintptr_t end = start + region->size;

	(void)index;
	if (start < region->start || end > region->end || start / region->page != (end - 1) / region->page)
		region->outside++;
}

/* Counts the objects that are lost to net_af_xdp: those outside the region from the pool's first page on, as
 * long as all objects together, and those that cross a page, which the kernel does not accept. */
uint32_t guideway_pool_outside(struct rte_mempool *pool)
{
	const struct rte_mempool_memhdr *first = STAILQ_FIRST(&pool->mem_list);
	struct region region = { .page = sysconf(_SC_PAGESIZE) };

	if (first == NULL)
		return pool->size;
	region.size = rte_mempool_calc_obj_size(pool->elt_size, pool->flags, NULL);
	region.start = (uintptr_t)first->addr & ~(region.page - 1);
	region.end = (uintptr_t)first->addr + pool->populated_size * region.size;
	rte_mempool_obj_iter(pool, count_outside, &region);
	return region.outside;
}

/* Returns the bytes of a buffer, including the headroom. */
uint16_t guideway_pool_room(struct rte_mempool *pool)
{
	return rte_pktmbuf_data_room_size(pool);
}

/* Returns the cache that a pool has for a thread, or NULL, and how many bytes of it the thread writes: its head, and the
 * buffers in it, of which there are at most twice as many as the pool's cache size. */
void *guideway_pool_cache(struct rte_mempool *pool, unsigned int lcore, uint32_t *length)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, lcore);

	*length = offsetof(struct rte_mempool_cache, objs) + 2 * pool->cache_size * sizeof(void *);
	return cache;
}

/* Asks for the lines of the mbufs that the calling thread takes next from a pool, up to `count`: both lines of each, which
 * drivers write when they take an mbuf. */
void guideway_pool_fetch(struct rte_mempool *pool, uint32_t count)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());
	uint32_t i;

	if (cache == NULL)
		return;
	for (i = 1; i <= RTE_MIN(count, cache->len); i++) {
		const char *mbuf = cache->objs[cache->len - i];

		take_line(mbuf);
		take_line(mbuf + RTE_CACHE_LINE_SIZE);
	}
}
