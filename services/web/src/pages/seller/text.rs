//! Words of the sellers' console.

use crate::console::text::words;

words! {
    Words;
    place: "Seller centre", "商家中心";
    overview: "Overview", "概览";
    products: "Products", "商品";
    stock: "Stock", "库存";
    orders: "Orders to ship", "待发货订单";

    to_do: "What is to do", "待办";
    orders_to_ship: "Orders to ship", "待发货";
    drafts: "Drafts", "草稿";
    sold_out: "Sold out variants", "售罄规格";
    of_newest: "among your 100 newest products", "在最新的 100 件商品中";
    sales: "Your sales, last 30 days", "近 30 天销售";
    sales_chart: "Your sales per day over the last 30 days", "近 30 天每日销售额";
    all_of_them: "See them all", "查看全部";

    new_product: "New product", "新商品";
    no_products: "No products here yet.", "这里还没有商品。";
    search: "Title contains", "标题包含";
    draft: "Draft", "草稿";
    listed: "For sale", "在售";
    delisted: "Taken off", "已下架";
    deleted: "Deleted", "已删除";
    price: "Price", "价格";
    variants: "Variants", "规格";
    changed: "Changed", "修改时间";

    texts: "Texts", "文字信息";
    title: "Title", "标题";
    description: "Description", "描述";
    title_zh: "Title in Chinese", "中文标题";
    description_zh: "Description in Chinese", "中文描述";
    zh_hint: "Shown to who reads Chinese; empty shows the other.", "展示给中文用户，留空则显示默认文字。";
    shelves: "Shelves", "分类";
    currency: "Currency", "币种";
    option_name: "Option {}", "选项 {}";
    option_hint: "What the variants differ in, e.g. Colour. Empty where there is one variant only.", "规格之间的差异，例如颜色；仅一个规格时留空。";
    option_value: "Option {}", "选项 {}";
    variant: "Variant {}", "规格 {}";
    code: "Your code", "商家编码";
    units_now: "Units in stock", "初始库存";
    more_rows: "Room for more variants", "增加规格";
    remove_variant: "Remove this variant", "移除此规格";
    save_draft: "Save as draft", "保存为草稿";
    save_texts: "Save texts", "保存文字";
    save_variants: "Save variants", "保存规格";
    variants_text: "A row left empty is no variant. Units of a variant that exists are changed under Stock.", "空行不计。已有规格的库存请在“库存”中调整。";
    created_done: "The draft is saved. Add pictures, then put it up for sale.", "草稿已保存。添加图片后即可上架。";
    listed_done: "It is for sale now.", "商品已上架。";
    delisted_done: "It is taken off the shelves.", "商品已下架。";
    deleted_done: "The product is deleted.", "商品已删除。";
    picture_done: "The picture is there.", "图片已添加。";

    pictures: "Pictures", "图片";
    no_pictures: "No pictures yet.", "还没有图片。";
    alt: "What it shows, for who cannot see it", "图片说明（无障碍）";
    remove_picture: "Remove", "移除";
    save_pictures: "Save pictures", "保存图片";
    add_picture: "Add a picture", "添加图片";
    picture_file: "Picture", "图片文件";
    picture_hint: "PNG, JPEG or WebP, at most 2 MiB and 4,000 pixels on a side.", "PNG、JPEG 或 WebP，最大 2 MiB，边长不超过 4,000 像素。";
    upload: "Upload", "上传";

    shelf_state: "On the shelves", "上下架";
    list: "Put up for sale", "上架";
    list_text: "Shoppers see it within a second.", "一秒内对顾客可见。";
    delist: "Take off the shelves", "下架";
    delist_text: "Carts that hold it mark it and can be checked out without it.", "购物车中的该商品将被标记，其余商品可正常结算。";
    delete: "Delete", "删除";
    delete_text: "It never comes back. Orders of it stay as they are.", "删除后无法恢复，已有订单不受影响。";
    see_in_shop: "See it in the shop", "在商城中查看";

    on_hand: "On hand", "在库";
    reserved: "Held", "已占用";
    available: "Left to sell", "可售";
    no_stock: "No variants yet.", "还没有规格。";
    adjust: "Adjust", "调整库存";
    adjust_text: "Units that came in or went out otherwise than by orders.", "订单以外的入库或出库。";
    delta: "Units", "数量";
    delta_hint: "12 adds, -3 takes away.", "12 表示增加，-3 表示减少。";
    adjusted_done: "The stock is adjusted.", "库存已调整。";
    ledger: "Every change", "库存流水";
    kind: "Kind", "类型";
    received: "received", "入库";
    sold: "sold", "售出";
    returned: "came back", "退回";
    adjusted: "adjusted", "调整";
    change: "Change", "变动";
    reference: "From", "来源";
    no_ledger: "Nothing yet.", "暂无记录。";

    to_ship: "To ship", "待发货";
    all_paid: "All paid orders", "全部已付款";
    no_orders: "Nothing to ship. Well done.", "没有待发货的订单。";
    no_orders_at_all: "No paid orders yet.", "还没有已付款的订单。";
    goes_to: "Goes to", "收货信息";
    goods: "Your goods in this order", "本订单中您的商品";
    shipped: "Sent", "已发";
    left_to_ship: "Left", "待发";
    all_shipped: "Everything of yours is on its way.", "您的商品已全部发出。";
    none_to_ship: "Nothing of it is to be sent any more.", "没有需要发货的商品。";
    note: "Note of the shopper", "顾客留言";
    not_to_ship: "It cannot be shipped in its present state.", "当前状态不能发货。";
}
