//! Every word of the pages in both languages, side by side: a text without its other half does not compile.

use std::fmt::Display;

use crate::domain::Lang;

macro_rules! texts {
    ($($name:ident: $en:literal, $zh:literal;)*) => {
        /// All texts of one language.
        pub struct Text {
            $(pub $name: &'static str,)*
        }

        static EN: Text = Text { $($name: $en,)* };
        static ZH: Text = Text { $($name: $zh,)* };

        #[cfg(test)]
        const ALL: &[(&str, &str, &str)] = &[$((stringify!($name), $en, $zh),)*];
    };
}

impl Text {
    /// Returns the texts of a language.
    pub fn of(lang: Lang) -> &'static Text {
        match lang {
            Lang::En => &EN,
            Lang::Zh => &ZH,
        }
    }
}

/// Puts a value into the place `{}` of a text.
pub fn fill(text: &str, value: impl Display) -> String {
    text.replacen("{}", &value.to_string(), 1)
}

texts! {
    shop: "Mallard", "绿头鸭商城";
    tagline: "Good things from independent makers", "独立匠人的好物";
    skip: "Skip to content", "跳到正文";
    home: "Home", "首页";
    search: "Search", "搜索";
    search_label: "Search the shop", "搜索商品";
    search_placeholder: "Mugs, lamps, notebooks…", "马克杯、台灯、笔记本……";
    all_products: "All products", "全部商品";
    search_results: "Results for “{}”", "“{}”的搜索结果";
    nav_personal: "Your account", "我的账户";
    nav_departments: "Departments", "商品分类";
    nav_language: "Language", "语言";
    nav_more: "More", "更多";
    nav_crumbs: "You are here", "当前位置";
    nav_pages: "Pages", "分页";
    sellers: "For sellers", "商家中心";
    developers: "API for developers", "开发者接口";
    sign_in: "Sign in", "登录";
    sign_up: "Create account", "注册";
    sign_out: "Sign out", "退出登录";
    orders: "Orders", "我的订单";
    account: "Account", "账户";
    cart: "Cart", "购物车";
    cart_count: "{} in the cart", "购物车内 {} 种商品";

    hero_title: "Made slowly, sent quickly.", "慢工出细活，快递送到家。";
    hero_text: "Cups, lamps, paper and plants from small workshops. Every price and every count on these pages is the real one.",
        "来自小作坊的杯盏、灯具、纸品和绿植。页面上的每个价格、每件库存都是真实的。";
    hero_button: "See what is new", "看看新品";
    departments: "Departments", "逛分类";
    new_arrivals: "New arrivals", "新品上架";
    best_sellers: "Best sellers", "热销商品";
    presents_title: "Small presents up to {}", "{} 以内的小礼物";
    presents_text: "For the neighbour who waters the plants, and for nobody in particular.", "送给帮忙浇花的邻居，或者送给自己。";
    presents_button: "See small presents", "挑一件小礼物";
    see_all: "See all", "查看全部";
    shop_empty: "The shelves are still empty. Come back soon.", "货架还空着，请稍后再来。";
    to_home: "Look around", "去逛逛";

    filters: "Filter and sort", "筛选与排序";
    sort: "Sort by", "排序";
    sort_newest: "Newest first", "最新上架";
    sort_price: "Price, low to high", "价格从低到高";
    sort_price_down: "Price, high to low", "价格从高到低";
    sort_title: "Name", "名称";
    brand: "Brand", "品牌";
    all_brands: "All brands", "全部品牌";
    category: "Category", "分类";
    all_categories: "All categories", "全部分类";
    price: "Price", "价格";
    price_at_least: "{} and more", "{} 以上";
    price_at_most: "up to {}", "{} 以内";
    price_min: "From", "最低";
    price_max: "To", "最高";
    price_from_before: "from", "";
    price_from_after: "", "起";
    only_in_stock: "In stock only", "仅看有货";
    apply: "Show results", "查看结果";
    clear_filters: "Clear filters", "清除筛选";
    nothing_found: "Nothing here matches.", "没有符合条件的商品。";
    price_unread: "Write prices as numbers, e.g. 19.90. What could not be read was left out.", "价格请填写数字，例如 19.90；无法识别的价格未生效。";
    count_one: "1 product", "1 件商品";
    count_many: "{} products", "{} 件商品";
    subcategories: "Shelves", "子分类";
    next_page: "Next page", "下一页";
    first_page: "First page", "回到第一页";

    pictures: "Pictures", "商品图片";
    in_stock: "In stock", "有货";
    sold_out: "Sold out", "已售罄";
    quantity: "Quantity", "数量";
    add_to_cart: "Add to cart", "加入购物车";
    about: "About it", "商品介绍";
    fact_pay: "Your card goes to the payment service only and is never stored.", "银行卡信息只交给支付服务，从不保存。";
    fact_address: "Change the address until it ships.", "发货前可随时修改收货地址。";
    fact_later: "Order now and pay later: we hold it for you.", "可先下单后付款，我们为您留货。";
    added: "Added to your cart.", "已加入购物车。";

    cart_empty: "Your cart is empty.", "购物车是空的。";
    update: "Update", "更新";
    remove: "Remove", "移除";
    clear_cart: "Empty the cart", "清空购物车";
    summary: "Summary", "订单摘要";
    goods_total: "Goods", "商品合计";
    shipping_later: "Shipping is worked out at checkout.", "运费在结算时计算。";
    to_checkout: "Check out", "去结算";
    checkout_rest: "Check out the rest", "结算其余商品";
    cart_blocked: "Some things cannot be bought at the moment. They stay in the cart; you can check out the rest.",
        "部分商品暂时无法购买，会留在购物车中；您可以先结算其余商品。";
    cart_blocked_all: "Nothing in the cart can be bought at the moment.", "购物车中的商品目前均无法购买。";
    mark_price: "The price has changed since you added it.", "加入购物车后价格有变动。";
    mark_sold_out: "Only {} left.", "库存不足，仅剩 {} 件。";
    mark_held: "The {} you ordered and have not paid yet are held for you; none are left beside them.", "您未付款的订单已为您保留 {} 件，此外已无库存。";
    mark_delisted: "No longer sold.", "商品已下架。";
    quantity_bad: "The quantity must be a whole number from 1 to 9,999.", "数量须为 1 到 9,999 的整数。";
    cart_full: "The cart is full: at most 100 different things.", "购物车已满，最多 100 种商品。";
    not_sellable: "This is no longer sold.", "该商品已下架。";
    cart_currency: "The cart holds prices in another currency.", "购物车中的商品为其他币种。";

    email: "E-mail", "邮箱";
    password: "Password", "密码";
    password_again: "Password again", "确认密码";
    password_hint: "At least 8 characters.", "至少 8 个字符。";
    name: "Name", "姓名";
    no_account: "New here?", "还没有账户？";
    have_account: "Have an account?", "已有账户？";
    bad_login: "E-mail or password is not right.", "邮箱或密码不正确。";
    email_taken: "There is an account with this e-mail already. Sign in instead.", "该邮箱已注册，请直接登录。";
    email_bad: "This is not an e-mail address.", "邮箱格式不正确。";
    password_short: "At least 8 characters, please.", "密码至少 8 个字符。";
    password_long: "At most 128 characters, please.", "密码最多 128 个字符。";
    password_is_email: "The password must not be the e-mail address.", "密码不能与邮箱相同。";
    password_differs: "The two passwords differ.", "两次输入的密码不一致。";
    banned: "This account has been suspended.", "该账户已被停用。";
    too_busy: "Too many people are signing in. Try again in a moment.", "登录人数过多，请稍后再试。";
    too_many_tries: "Too many attempts. Try again later.", "尝试次数过多，请稍后再试。";
    signed_out: "You are signed out.", "您已退出登录。";
    optional: "(optional)", "（选填）";
    field_required: "This is needed.", "请填写此项。";
    field_too_long: "This is too long.", "内容过长。";
    field_hidden: "This holds characters nobody can see. Type it anew.", "内容含有不可见字符，请重新输入。";
    field_bad: "This cannot be right.", "内容有误。";

    checkout: "Checkout", "结算";
    delivery_address: "Delivery address", "收货地址";
    new_address: "New address", "新地址";
    save_address: "Keep it in my address book", "保存到地址簿";
    phone: "Phone", "电话";
    country: "Country", "国家或地区";
    province: "Province or state", "省 / 直辖市";
    city: "City", "城市";
    district: "District", "区 / 县";
    street: "Street and number", "详细地址";
    postal_code: "Postal code", "邮政编码";
    receiver: "Full name", "收货人";
    shipping_method: "Shipping", "配送方式";
    standard_shipping: "Standard shipping", "标准配送";
    free: "Free", "免运费";
    payment_method: "Payment", "支付方式";
    pay_card: "Card", "银行卡";
    pay_card_text: "Charged when you place the order.", "下单时扣款。";
    pay_later: "Pay later", "稍后付款";
    pay_later_text: "We hold the goods for you until the time shown on the order.", "在订单所示时间之前为您保留商品。";
    card_number: "Card number", "卡号";
    card_expiry: "Expires (MM/YY)", "有效期（月/年）";
    card_cvc: "Security code", "安全码";
    coupon: "Coupon code", "优惠码";
    coupon_have: "Have a coupon?", "有优惠码？";
    coupon_apply: "Apply", "使用";
    coupon_bad: "There is no such coupon. Nothing was ordered.", "优惠码无效，尚未下单。";
    note: "Note to the shop", "给商家留言";
    subtotal: "Goods", "商品金额";
    discount: "Discount", "优惠";
    shipping: "Shipping", "运费";
    tax: "Tax", "税费";
    total: "Total", "合计";
    place_order: "Place order", "提交订单";
    back_to_cart: "Back to the cart", "返回购物车";
    declined: "The card was declined. Nothing was charged, and your cart is as it was.", "银行卡被拒绝，没有扣款，购物车保持不变。";
    insufficient: "There is not enough money on this card. Nothing was charged, and your cart is as it was.",
        "卡内余额不足，没有扣款，购物车保持不变。";
    card_number_bad: "This card number is not valid.", "卡号无效。";
    card_cvc_bad: "3 digits, 4 for American Express.", "3 位数字，美国运通为 4 位。";
    card_cvc_wrong: "The security code is not right.", "安全码不正确。";
    card_expiry_bad: "Month and year, e.g. 09/28.", "请填写月/年，例如 09/28。";
    card_over: "The card has expired.", "银行卡已过期。";
    card_demo: "This is a demo shop: use a test card such as 4242 4242 4242 4242.", "这是演示商城，请使用测试卡，例如 4242 4242 4242 4242。";
    card_test: "Test cards are not accepted here.", "此处不接受测试卡。";
    see_payment: "Look at the payment details below.", "请检查下方的支付信息。";
    see_fields: "Look at the marked fields.", "请检查标出的项目。";
    total_changed: "The total has changed while you were here. Nothing was ordered: look at the new total and place the order again.",
        "结算期间金额有变动，尚未下单。请确认新的金额后重新提交。";
    goods_changed: "What you are ordering has changed while you were here. Nothing was ordered: look at the goods and place the order again.",
        "结算期间商品有变动，尚未下单。请确认商品后重新提交。";
    ordered_and_cancelled: "The order of this form was cancelled meanwhile. Nothing was ordered now: place the order again for a new one.",
        "此表单对应的订单已取消，本次尚未下单。如需重新下单，请再次提交。";
    total_was: "It was {}, it is now {}.", "原为 {}，现为 {}。";
    out_of_stock: "Somebody was faster: not enough of “{}” is left. Nothing was ordered.", "“{}”库存不足，尚未下单。";
    out_of_stock_any: "Somebody was faster: not enough is left. Nothing was ordered.", "库存不足，尚未下单。";
    no_longer_sold: "Something in your cart is no longer sold. Nothing was ordered.", "购物车中有商品已下架，尚未下单。";
    already_ordered: "This cart has been ordered already.", "该购物车已下单。";
    form_used: "This form has been used for another order. Check your orders before you send it again.",
        "此表单已用于另一笔订单，请先查看您的订单。";
    outcome_unknown: "We do not know yet whether the order went through. Press the button again: the same form never orders or charges twice.",
        "暂时无法确认订单是否成功。请再次点击按钮：同一表单不会重复下单或扣款。";
    may_not_buy: "This account may not buy at the moment.", "该账户目前无法购买。";
    address_gone: "This address is no longer in your book.", "该地址已不在地址簿中。";
    method_bad: "Choose how to pay.", "请选择支付方式。";
    see_cart: "See the cart", "查看购物车";
    see_orders: "See your orders", "查看订单";

    result_paid: "Thank you, it is paid.", "支付成功，感谢惠顾。";
    result_paid_text: "We have your order and your payment.", "我们已收到您的订单和付款。";
    result_waiting: "Your order is waiting for the payment.", "订单等待支付。";
    result_waiting_text: "The goods are held for you until {}.", "商品为您保留至 {}。";
    result_asking: "We are waiting for the bank.", "正在等待银行确认。";
    result_asking_text: "This page shows the answer as soon as it is there. Do not pay again.", "结果一到即会显示在此页，请勿重复支付。";
    result_cancelled: "This order was cancelled.", "订单已取消。";
    result_cancelled_text: "Nothing will be sent and nothing was kept.", "不会发货，也不会扣款。";
    order_number: "Order number", "订单号";
    see_order: "See the order", "查看订单";
    go_on: "Go on shopping", "继续购物";
    pay_now: "Pay now", "立即支付";
    pay: "Pay", "支付";

    order: "Order", "订单";
    order_filter: "Show orders", "筛选订单";
    all: "All", "全部";
    no_orders: "No orders here yet.", "这里还没有订单。";
    status_pending: "Waiting for payment", "待付款";
    status_paid: "Paid", "已付款";
    status_partly_shipped: "Partly shipped", "部分发货";
    status_shipped: "Shipped", "已发货";
    status_delivered: "Delivered", "已送达";
    status_completed: "Completed", "已完成";
    status_cancelled: "Cancelled", "已取消";
    status_refunding: "Being refunded", "退款中";
    status_refunded: "Refunded", "已退款";
    goods: "Goods", "商品";
    timeline: "What happened", "订单动态";
    event_placed: "Order placed", "提交订单";
    event_paid: "Paid", "付款成功";
    event_payment_failed: "A payment failed", "支付失败";
    event_cancelled: "Cancelled", "订单取消";
    event_address_changed: "Address changed", "修改地址";
    event_shipped: "Shipped", "已发货";
    event_delivered: "Delivered", "已送达";
    event_refund_requested: "Refund asked for", "申请退款";
    event_refund_refused: "Refund refused", "退款被拒";
    event_refunded: "Refunded", "已退款";
    event_return_requested: "Return asked for", "申请退货";
    event_return_refused: "Return refused", "退货被拒";
    event_return_closed: "Return closed", "退货已关闭";
    reason_declined: "The card was declined.", "银行卡被拒绝。";
    reason_funds: "There is not enough money on this card.", "卡内余额不足。";
    reason_deadline: "It was not paid in time.", "未在规定时间内付款。";
    reason_shopper: "You cancelled it.", "您取消了订单。";
    tracking: "Tracking number {}", "运单号 {}";
    refunded: "Refunded", "已退款";
    pay_until: "Pay until {}. Then the order cancels itself and the goods go back.", "请在 {} 前付款，逾期订单将自动取消。";
    change_address: "Change the address", "修改收货地址";
    cancel_order: "Cancel this order", "取消订单";
    cancel_text: "The goods go back on the shelf. This cannot be undone.", "商品将重新上架，此操作无法撤销。";
    cancel_yes: "Yes, cancel it", "确认取消";
    order_moved: "The order has changed meanwhile. This is how it stands now.", "订单状态已变化，以下为最新状态。";
    cancelled_done: "The order is cancelled.", "订单已取消。";
    address_done: "The address is changed.", "地址已修改。";
    returns: "Returns", "退货";
    return_goods: "Give something back", "申请退货";
    return_text: "Say what comes back and why. We answer here; the money goes back to where it came from.", "请选择要退的商品并说明原因。处理结果会显示在此页，退款原路返回。";
    return_units: "at most {}", "最多 {} 件";
    return_reason: "Why it comes back", "退货原因";
    return_send: "Ask to give it back", "提交退货申请";
    return_done: "We have your return and will answer on this page.", "退货申请已提交，结果会显示在此页。";
    return_empty: "Choose how many of what comes back.", "请选择要退的商品和数量。";
    return_bad: "So many cannot be given back. Look at the numbers.", "退货数量超出可退范围，请检查。";
    return_too_many: "This order has had too many returns. Write to the shop about the rest.", "该订单的退货申请过多，其余请联系商家。";
    return_requested: "Being looked at", "处理中";
    return_refused: "Refused", "已拒绝";
    return_approved: "Agreed, money on its way", "已同意，退款中";
    return_refunded: "Money given back", "已退款";
    return_withdrawn: "Taken back", "已撤回";
    return_closed: "Closed, money given back", "已关闭，款项已退还";
    return_with_order: "The whole order was refunded.", "订单已全额退款。";

    profile: "Profile", "个人资料";
    language: "Language", "语言";
    save: "Save", "保存";
    saved: "Saved.", "已保存。";
    addresses: "Address book", "地址簿";
    change_password: "Change password", "修改密码";
    change_password_text: "Every other device is signed out.", "其他设备将退出登录。";
    password_now: "Password now", "当前密码";
    password_new: "New password", "新密码";
    password_wrong: "This is not your password.", "密码不正确。";
    password_changed: "The password is changed. Other devices are signed out.", "密码已修改，其他设备已退出登录。";
    delete_account: "Delete account", "注销账户";
    delete_account_text: "Your name, e-mail address, address book and cart are removed and every device is signed out. Orders stay in the books as the law wants. This cannot be undone.",
        "您的姓名、邮箱、地址簿和购物车将被删除，所有设备退出登录。订单依法留存。此操作无法撤销。";
    delete_account_yes: "Delete my account for good", "永久注销账户";
    account_deleted: "Your account is deleted.", "账户已注销。";
    sessions: "Where you are signed in", "登录设备";
    sessions_text: "End a session you do not know: it stops within a second.", "结束陌生的登录，一秒内失效。";
    this_device: "this device", "当前设备";
    device_on: "{} on {}", "{}（{}）";
    unknown_device: "Unknown device", "未知设备";
    last_used: "last used", "最近使用";
    end_session: "End", "结束";
    session_ended: "The session has ended.", "该登录已结束。";
    no_addresses: "No addresses yet.", "还没有地址。";
    edit: "Edit", "编辑";
    delete: "Delete", "删除";
    edit_address: "Edit address", "编辑地址";
    default: "default", "默认";
    make_default: "Use it by default", "设为默认地址";
    address_saved: "The address is saved.", "地址已保存。";
    address_deleted: "The address is deleted.", "地址已删除。";
    address_book_full: "The address book is full: at most 50.", "地址簿已满，最多 50 个。";

    request_id: "Request", "请求编号";
    load_again: "Load the page again", "重新打开页面";
    not_saved: "There is no answer. What you did may not have been saved: load the page again.", "没有收到响应，刚才的操作可能未保存，请重新打开页面。";
    try_again: "Try again", "重试";
    problem_missing: "We could not find that.", "找不到该页面。";
    problem_missing_text: "It may have moved, sold out for good, or never been here.", "可能已下架、已移动，或从未存在。";
    problem_form: "This form is not good any more.", "表单已失效。";
    problem_form_text: "It is too old, or it was not sent from this shop. Load the page again and send it once more.",
        "表单已过期，或并非来自本商城。请重新打开页面后再提交。";
    problem_forbidden: "You may not do this.", "无权执行此操作。";
    problem_forbidden_text: "Your account does not allow it. If you think it should, write to us with the number below.",
        "您的账户没有此权限。如有疑问，请附上下方编号联系我们。";
    problem_conflict: "That did not go together.", "操作冲突。";
    problem_conflict_text: "Something changed at the same moment. Look at the page again and try once more.", "内容在同一时刻发生了变化，请刷新后重试。";
    problem_refused: "That cannot be done.", "无法完成此操作。";
    problem_refused_text: "What was sent does not fit what the shop knows. Go back and check it.", "提交的内容与商城记录不符，请返回检查。";
    problem_verb: "This address works the other way round.", "请求方式不正确。";
    problem_verb_text: "It cannot be opened or sent like this.", "该地址不能以这种方式访问。";
    problem_busy: "Too many at once.", "请求过于频繁。";
    problem_busy_text: "Take a breath and try again in a moment.", "请稍候片刻再试。";
    problem_away: "Part of the shop is closed right now.", "部分服务暂时不可用。";
    problem_away_text: "It should be back in a moment. Your cart and your orders are safe.", "服务即将恢复，您的购物车和订单都安然无恙。";
    problem_ours: "Something broke on our side.", "我们这边出了点问题。";
    problem_ours_text: "It is written down. If it happens again, tell us the number below.", "问题已记录。如再次发生，请把下方编号告诉我们。";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_have_the_same_places_to_fill() {
        for (name, en, zh) in ALL {
            assert_eq!(en.matches("{}").count(), zh.matches("{}").count(), "{name}");
        }
    }

    #[test]
    fn values_go_into_their_places_in_order() {
        assert_eq!(fill(&fill("{} and {}", 1), "two"), "1 and two");
        assert_eq!(fill("none", 1), "none");
    }
}
